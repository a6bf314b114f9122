"""What every example needs: its app on a free port for as long as the example lasts, and a client for it.

In an app of your own it is `agent_os.serve(app)`, and this file is of no use.
"""

import logging
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI

from agentclock.config import LogFormat
from agentclock.logs import configure_logging


def scratch_file(name: str) -> str:
    """A path in a folder that did not exist before, so that an example starts from nothing each time."""
    return str(Path(tempfile.mkdtemp(prefix="agentclock-example-")) / name)


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


def finished_runs(client: httpx.Client, schedule_id: str, count: int) -> list[dict]:
    """The schedule's first `count` runs, oldest first, as soon as they are over."""
    while True:
        runs = client.get(f"/schedules/{schedule_id}/runs", params={"status": ["success", "failed"]}).json()["data"]
        if len(runs) >= count:
            return runs[::-1][:count]
        time.sleep(0.1)
