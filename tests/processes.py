"""Real agentclock processes and a real target on loopback, for tests that kill and restart."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

from aiohttp import ClientError, ClientSession, web

_ADDRESS = re.compile(rb"(?:API\s+|\"url\": \")(http://[^\s\"]+)")


class Target:
    """A plain endpoint that remembers what reached it; `status` is what it answers, once `pause` is set."""

    def __init__(self) -> None:
        self.status = 200
        self.pause: asyncio.Event | None = None
        self.calls: list[dict[str, str]] = []
        self.paths: set[str] = set()
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def attempts(self) -> list[int]:
        return [int(call["X-Agentclock-Attempt"]) for call in self.calls]

    @property
    def fires(self) -> Counter[tuple[str, str]]:
        return Counter((call["X-Agentclock-Schedule"], call["X-Agentclock-Fire-At"]) for call in self.calls)

    async def _answer(self, request: web.Request) -> web.Response:
        self.calls.append(dict(request.headers))
        self.paths.add(request.path)
        if self.pause is not None:
            await self.pause.wait()
        return web.json_response({}, status=self.status)


class Serve:
    """One `agentclock serve` process, ready to be spoken to."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, stderr: asyncio.StreamReader) -> None:
        self._process = process
        self._saying = asyncio.create_task(stderr.read())  # or it would wait for somebody to listen
        self.session = ClientSession(url)
        self.url = url

    @classmethod
    async def start(cls, database: str, target: Target, *options: str) -> Self:
        command = [sys.executable, "-m", "agentclock", "serve", "--database", database, "--port", "0"]
        command += ["--target", f"default={target.url}", "--log-level", "error", *options]
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        assert process.stderr is not None
        said = b""
        while not (found := _ADDRESS.search(said)):
            line = await process.stderr.readline()
            assert line, f"serve ended: {said.decode()}"
            said += line
        serve = cls(process, found[1].decode(), process.stderr)
        await until(serve.is_ready)
        return serve

    async def is_ready(self) -> bool:
        try:
            async with self.session.get("/ready") as answer:
                return answer.status == 200
        except ClientError:
            return False

    async def get(self, path: str) -> Any:
        async with self.session.get(path) as answer:
            return await answer.json()

    async def post(self, path: str, body: Any = None) -> Any:
        async with self.session.post(path, json=body) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json()

    def tell(self, how: signal.Signals) -> None:
        self._process.send_signal(how)

    async def ended(self) -> int:
        """The exit code of a process that was told to stop."""
        return await self._process.wait()

    async def log(self) -> list[dict[str, Any]]:
        """What a process that was started with `--log-format json` said until its end."""
        lines = (await self._saying).decode().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    async def end(self, how: signal.Signals = signal.SIGKILL) -> int:
        if self._process.returncode is None:
            self._process.send_signal(how)
        await self.session.close()
        return await self._process.wait()


@asynccontextmanager
async def serving(database: str, target: Target, *options: str) -> AsyncIterator[Serve]:
    serve = await Serve.start(database, target, *options)
    try:
        yield serve
    finally:
        await serve.end()


async def until(condition: Callable[[], Any]) -> None:
    """Waits, in real time, for what other processes do; the test's own time limit ends it."""
    while True:
        met = condition()
        if asyncio.iscoroutine(met):
            met = await met
        if met:
            return
        await asyncio.sleep(0.02)
