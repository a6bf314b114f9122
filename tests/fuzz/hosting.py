"""The server that is fuzzed: a real process with its engine running, and a target that answers."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.fuzzer import Found, fuzz
from tests.processes import Serve, Target, serving, until

KEY = "fuzz-key-0123456789abcdef"
#: Nobody is in a hurry but us: limits of rates would hide the routes behind them, and streams take a second each.
_SETTINGS = {
    "requests_per_second": 0,
    "failures_per_second": 0,
    "stream_max_seconds": 1,
    "trigger_wait_seconds": 0,
    "schedules_per_owner": 1_000_000,
}


@dataclass(slots=True, kw_only=True)
class Host:
    server: Serve
    target: Target
    headers: dict[str, str]

    async def fuzzed(self, requests: int, seed: int, tell: Callable[[str], None] = lambda _: None) -> Found:
        return await asyncio.to_thread(
            fuzz, self.server.url, requests_wanted=requests, from_seed=seed, headers=self.headers, tell=tell
        )

    async def is_alive(self) -> bool:
        """The server is ready, and a schedule that becomes due now reaches its target."""
        await until(self.server.is_ready)
        # Another server may have fuzzed the same database before.
        name = f"alive {uuid.uuid4()}"
        draft = {"name": name, "endpoint": "/still-alive", "interval_seconds": 1, "max_runs": 1}
        async with self.server.session.post("/schedules", json=draft, headers=self.headers) as made:
            assert made.status == 201, await made.text()
        await until(lambda: "/still-alive" in self.target.paths)
        return True


@asynccontextmanager
async def hosted(database: str, folder: Path, *, is_guarded: bool) -> AsyncIterator[Host]:
    """`is_guarded`: whoever has no security key is refused."""
    settings = _SETTINGS | ({"security_key": KEY} if is_guarded else {})
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    config = folder / "fuzz.toml"
    config.write_text("\n".join(["[agentclock]", *lines]) + "\n", encoding="utf-8")
    headers = {"Authorization": f"Bearer {KEY}"} if is_guarded else {}
    async with Target() as target, serving(database, target, "--config", str(config)) as server:
        yield Host(server=server, target=target, headers=headers)
