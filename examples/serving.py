"""What every example needs: its app on a free port for as long as the example lasts, and a client for it.

In an app of your own it is `agent_os.serve(app)`, and this file is of no use.
"""

import atexit
import logging
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn

import httpx
import uvicorn
from fastapi import FastAPI

from agentclock.config import LogFormat
from agentclock.logs import configure_logging


def scratch_file(name: str) -> str:
    """A path in a folder of its own, which goes with the process: an example starts from nothing each time."""
    folder = tempfile.mkdtemp(prefix="agentclock-example-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return str(Path(folder) / name)


def quiet() -> None:
    """Warnings only, of agentclock and of agno, which sets its own level again with each run."""
    configure_logging("warning", LogFormat.TEXT)
    for name in ("agno", "agno-team", "agno-workflow"):
        logging.getLogger(name).addFilter(lambda record: record.levelno >= logging.WARNING)


@contextmanager
def served(app: FastAPI) -> Iterator[httpx.Client]:
    """A client of `app`, which is served by a real server in a thread until the block ends."""
    quiet()
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("the server did not start")
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


def created(client: httpx.Client, **schedule: object) -> dict:
    """`POST /schedules`, or the reason why not."""
    answer = client.post("/schedules", json=schedule)
    if answer.status_code != 201:
        raise RuntimeError(answer.text)
    return answer.json()


def finished_runs(client: httpx.Client, schedule_id: str, count: int, **where: str) -> list[dict]:
    """The schedule's first `count` runs, oldest first, as soon as they are over."""
    while True:
        params = {"status": ["success", "failed"], **where}
        runs = client.get(f"/schedules/{schedule_id}/runs", params=params).raise_for_status().json()["data"]
        if len(runs) >= count:
            return runs[::-1][:count]
        time.sleep(0.1)


def started(script: str, count: int) -> list[tuple[subprocess.Popen, httpx.Client]]:
    """`script` as so many processes, each of which serves on the port that is its argument; ready to be spoken to."""
    with ExitStack() as stack:
        free = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        ports = [one.getsockname()[1] for one in free]
    processes = [subprocess.Popen([sys.executable, script, str(port)]) for port in ports]
    return [(process, speaking(process, port)) for process, port in zip(processes, ports, strict=True)]


def speaking(process: subprocess.Popen, port: int) -> httpx.Client:
    """A client of the process, as soon as that serves."""
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
    while process.poll() is None:
        try:
            client.get("/health")
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return client
    raise RuntimeError("the process ended before it served")


def run_with_postgres(script: str) -> NoReturn:
    """Runs `script` once more, with AGENTCLOCK_TEST_PG_URL set to a server that is gone afterwards, and exits."""
    root = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-m", "tests.pg", "run", "--", sys.executable, str(Path(script).resolve())]
    sys.exit(subprocess.run(command, cwd=root, check=False).returncode)
