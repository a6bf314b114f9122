"""A plain HTTP service that records every call before it answers, and answers as badly as a seed tells it to.

    python -m tests.chaos.target --record FILE --port PORT --seed N

Below /steady every call is answered well and at once; below /slow after some seconds; below /flaky with anything that
services do: 500, 503 with Retry-After, late, a reply that breaks off in the middle, a reset before any reply.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

from aiohttp import web
from tests.chaos.journal import Journal

_BODY: Final = b'{"said": "' + b"well " * 40 + b'"}'
_RESET: Final = struct.pack("ii", 1, 0)
#: What a flaky service does, and how often of a hundred times.
_MOODS: Final = {"200": 68, "500": 8, "503": 7, "late": 6, "half": 6, "reset": 5}
HEADERS: Final = {
    "key": "Idempotency-Key",
    "run": "X-Agentclock-Run",
    "attempt": "X-Agentclock-Attempt",
    "schedule": "X-Agentclock-Schedule",
    "fire_at": "X-Agentclock-Fire-At",
}


class Target:
    def __init__(self, journal: Journal, seed: str) -> None:
        self._journal = journal
        self._random = random.Random(seed)
        self._numbers = itertools.count(1)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/":
            return web.Response()  # somebody asks whether anybody is there
        number, mood = next(self._numbers), self._mood(request.path)
        facts = {name: request.headers.get(header) for name, header in HEADERS.items()}
        self._journal.note("call", number=number, method=request.method, path=request.path, **facts)
        status = int(mood) if mood.isdigit() else 200
        headers = {"Content-Length": str(len(_BODY)), "Content-Type": "application/json"}
        if status == 503:
            headers["Retry-After"] = "1"
        response, given = web.StreamResponse(status=status, headers=headers), "gone"
        try:
            given = await self._reply(request, response, mood)
        finally:
            self._journal.note("answer", number=number, answer=given)
        return response

    def _mood(self, path: str) -> str:
        if path.startswith("/flaky"):
            return self._random.choices(list(_MOODS), list(_MOODS.values()))[0]
        return "late" if path.startswith("/slow") else "200"

    async def _reply(self, request: web.Request, response: web.StreamResponse, mood: str) -> str:
        """What the caller was told: a status, or how it was left without one."""
        if mood == "late":
            await asyncio.sleep(self._random.uniform(0.5, 7.0 if request.path.startswith("/slow") else 4.0))
        if mood == "reset":
            _reset(request)
            return "reset"
        try:
            await response.prepare(request)
            await response.write(_BODY[: 50 if mood == "half" else None])
            if mood == "half":
                await asyncio.sleep(0.05)
                _reset(request)
                return "half"
            await response.write_eof()
        except ConnectionError:
            return "gone"
        return str(response.status)


def _reset(request: web.Request) -> None:
    if request.transport is None:
        return
    with suppress(OSError):
        request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    request.transport.abort()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seed", default="0")
    options = parser.parse_args()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", Target(Journal(options.record), options.seed).answer)
    web.run_app(app, host="127.0.0.1", port=options.port, print=None, access_log=None, handle_signals=True)


if __name__ == "__main__":
    main()
