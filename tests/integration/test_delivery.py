"""The keys that a plain endpoint sees, through real processes and real connections that break."""

from __future__ import annotations

import asyncio
import signal
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.processes import Serve, Target, serving, until

#: What the target does with a request: answers with a status, or one of these.
DIES, DIES_ANSWERING, HANGS = "dies", "dies answering", "hangs"


@dataclass(slots=True)
class Seen:
    """The requests that one path has received."""

    script: list[int | str]
    keys: list[str] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)

    @property
    def first_senders(self) -> list[int]:
        return [int(key.rpartition(".")[2]) for key in self.keys]


class Scripted(Target):
    """A target that does what each path's script says, and then 200."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, Seen] = defaultdict(lambda: Seen([]))
        self._over = asyncio.Event()

    async def __aexit__(self, *raised: object) -> None:
        self._over.set()
        await super().__aexit__(*raised)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        seen = self.seen[request.path]
        seen.keys.append(request.headers["Idempotency-Key"])
        seen.attempts.append(int(request.headers["X-Agentclock-Attempt"]))
        step = seen.script.pop(0) if seen.script else 200
        if isinstance(step, int):
            return web.json_response({}, status=step)
        if step == HANGS:
            await self._over.wait()
        answer = web.StreamResponse(headers={"Content-Length": "100"})
        if step == DIES_ANSWERING:
            await answer.prepare(request)
            await answer.write(b"half of it")
        assert request.transport is not None
        request.transport.abort()
        return answer


RETRY: dict[str, Any] = {"max_retries": 6, "retry_delay_seconds": 1}
LOST_TOO: dict[str, Any] = {**RETRY, "on_lost": "retry"}


@dataclass(frozen=True, slots=True)
class Case:
    """`senders`: of each request that arrives, the number of the attempt which first sent it."""

    script: list[int | str]
    senders: list[int]
    draft: dict[str, Any]
    end: str = "success"


CASES = {
    "post": Case([DIES, DIES_ANSWERING, 500, 404], [1, 1, 1, 4], LOST_TOO, "failed"),
    "turned-away": Case([DIES, 503, 502, 500], [1, 1, 1, 1, 5], LOST_TOO),
    "post-by-itself": Case([DIES], [1], RETRY, "lost"),
    "put": Case([DIES, DIES_ANSWERING], [1, 1, 1], {**RETRY, "method": "PUT"}),
    "put-once": Case([DIES], [1], {**RETRY, "method": "PUT", "on_lost": "fail"}, "lost"),
    "slow": Case([HANGS], [1, 1], {**RETRY, "timeout_seconds": 1}),
    "failing": Case([500, 503, 500], [1, 2, 3, 4], RETRY),
}


async def triggered(serve: Serve, name: str, draft: dict[str, Any]) -> str:
    made = await serve.post("/schedules", {"name": name, "endpoint": f"/{name}", **draft})
    await serve.post(f"/schedules/{made['id']}/trigger?wait=0")
    return str(made["id"])


async def ended(serve: Serve, schedule_id: str, end: str) -> None:
    async def is_over() -> bool:
        [run] = (await serve.get(f"/schedules/{schedule_id}/runs"))["data"]
        return bool(run["status"] == end)

    await until(is_over)


async def test_a_request_keeps_its_key_until_its_end_is_known(tmp_path: Path) -> None:
    async with Scripted() as target, serving(str(tmp_path / "clock.db"), target) as serve:
        for name, case in CASES.items():
            target.seen[f"/{name}"] = Seen(list(case.script))
        ids = {name: await triggered(serve, name, case.draft) for name, case in CASES.items()}
        for name, case in CASES.items():
            await ended(serve, ids[name], case.end)
            seen = target.seen[f"/{name}"]
            assert (name, seen.first_senders) == (name, case.senders)
            assert seen.attempts == [*range(1, len(case.senders) + 1)], name
            assert len({key.rpartition(".")[0] for key in seen.keys}) == 1


async def test_a_request_whose_worker_was_killed_is_repeated_with_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTCLOCK_LEASE_SECONDS", "1")
    database = str(tmp_path / "clock.db")
    async with Scripted() as target:
        seen = target.seen["/hook"] = Seen([HANGS])
        async with serving(database, target) as serve:
            schedule_id = await triggered(serve, "hook", LOST_TOO)
            await until(lambda: seen.keys)
            await serve.end(signal.SIGKILL)
        async with serving(database, target) as serve:
            await ended(serve, schedule_id, "success")
    assert (seen.attempts, seen.first_senders) == ([1, 2], [1, 1])
    assert len(set(seen.keys)) == 1
