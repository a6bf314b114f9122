"""The processes of a run: workers, AgentOS, target and proxy. None outlives the process that started it."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientError, ClientSession, ClientTimeout
from tests.pg import _free_port as free_port

__all__ = ["Child", "Fleet", "Proxy", "WorkerProcess", "free_port"]

ROOT: Final = Path(__file__).parents[2]
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None) if sys.platform == "linux" else None
REQUEST_SECONDS: Final = 5.0


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # type: ignore[union-attr]


class Child:
    """One process that can be started again and again, with its words in one log file."""

    def __init__(self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._command = command
        self._log = log
        self._env = {name: value for name, value in os.environ.items() if not name.startswith("AGENTCLOCK_")}
        self._env |= env or {}
        self.process: asyncio.subprocess.Process | None = None
        #: Exit codes of those that were told to stop.
        self.stops: list[int] = []

    async def start(self, **streams: Any) -> None:
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *self._command,
                env=self._env,
                cwd=ROOT,
                stdin=streams.get("stdin", asyncio.subprocess.DEVNULL),
                stdout=streams.get("stdout", log),
                stderr=log,
                preexec_fn=_die_with_parent if _LIBC else None,
            )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.returncode is None

    @property
    def heeds_sigterm(self) -> bool:
        """Whether it has come so far that SIGTERM is more than an end without a word. True where nobody can tell."""
        status = Path(f"/proc/{self.pid}/status")
        if not status.exists():
            return sys.platform != "linux"
        caught = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)

    def send(self, how: signal.Signals) -> None:
        if self.is_alive:
            assert self.process is not None
            self.process.send_signal(how)

    async def kill(self) -> None:
        self.send(signal.SIGKILL)
        if self.process is not None:
            await self.process.wait()

    async def stop(self, patience_seconds: float) -> int | None:
        """Its exit code after SIGTERM, None if it had to be killed."""
        self.send(signal.SIGTERM)
        assert self.process is not None
        try:
            async with asyncio.timeout(patience_seconds):
                self.stops.append(await self.process.wait())
        except TimeoutError:
            await self.kill()
            self.stops.append(-signal.SIGKILL)
            return None
        return self.stops[-1]


class WorkerProcess(Child):
    """`agentclock serve` or `agentclock worker`; `url` is None for the latter."""

    def __init__(self, number: int, env: Mapping[str, str], folder: Path, *, serves: bool) -> None:
        port = free_port()
        command = ["agentclock", "serve", "--port", str(port)] if serves else ["agentclock", "worker"]
        super().__init__(f"worker.{number}", command, folder / f"worker-{number}.log", env)
        self.number = number
        self.url = f"http://127.0.0.1:{port}" if serves else None

    @property
    def database_name(self) -> str:
        """How its rows name it."""
        return f"{socket.gethostname()}:{self.pid}"


class Proxy:
    """The proxy's process and the orders it takes."""

    def __init__(self, record: Path, links: Mapping[str, str], log: Path) -> None:
        wanted = [f"{name}={address}" for name, address in links.items()]
        self._child = Child("proxy", ["tests.chaos.proxy", "--record", str(record), *wanted], log)
        self._turn = asyncio.Lock()
        self.ports: dict[str, int] = {}

    async def start(self) -> None:
        await self._child.start(stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
        self.ports = json.loads(await self._answer())

    async def tell(self, order: str, links: str) -> None:
        async with self._turn:
            process = self._child.process
            assert process is not None
            assert process.stdin is not None
            process.stdin.write(f"{order} {links}\n".encode())
            await self._answer()

    async def end(self) -> None:
        """It writes down what it has counted."""
        process = self._child.process
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()

    async def _answer(self) -> bytes:
        process = self._child.process
        assert process is not None
        assert process.stdout is not None
        line = await process.stdout.readline()
        assert line, "the proxy has ended"
        return line


class Fleet:
    """All workers, and requests to whichever of them serves the API now."""

    def __init__(self) -> None:
        self.workers: list[WorkerProcess] = []
        self._session = ClientSession(timeout=ClientTimeout(total=REQUEST_SECONDS))

    async def close(self) -> None:
        await self._session.close()

    async def ask(self, worker: WorkerProcess, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and body. Status 0: there was no answer."""
        try:
            async with self._session.request(method, f"{worker.url}{path}", json=body) as answer:
                return answer.status, await answer.json(content_type=None)
        except (ClientError, TimeoutError, ValueError):
            return 0, None

    async def is_ready(self, worker: WorkerProcess) -> bool:
        return (await self.ask(worker, "GET", "/ready"))[0] == 200

    async def insist(self, method: str, path: str, body: Any = None, *, deadline: float) -> Any:
        """Asks one after the other until one says yes. Raises TimeoutError at `deadline` (loop time)."""
        while True:
            for worker in self.serving:
                status, answer = await self.ask(worker, method, path, body)
                if 200 <= status < 300:
                    return answer
            if asyncio.get_running_loop().time() >= deadline:
                raise TimeoutError(f"{method} {path}: {status} {answer}")
            await asyncio.sleep(0.1)

    @property
    def serving(self) -> list[WorkerProcess]:
        return [worker for worker in self.workers if worker.url is not None]


async def until(condition: Callable[[], Any], seconds: float, what: str) -> None:
    """Raises TimeoutError with `what` did not come true."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                met = condition()
                if asyncio.iscoroutine(met):
                    met = await met
                if met:
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise TimeoutError(f"not within {seconds:g} s: {what}") from None
