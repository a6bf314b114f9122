"""The engine's own sign of life, for a dead man's switch that watches all of agentclock."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

import structlog

from agentclock.core.errors import AgentclockError
from agentclock.core.pings import PingKind
from agentclock.ports import Clock, Store
from agentclock.telemetry.gauges import EngineFacts
from agentclock.telemetry.pings import Ping, Pinger
from agentclock.telemetry.timed import Stopwatch

#: A planner that has nothing to do steps every `poll_seconds`; it may take so much longer.
MARGIN_SECONDS: Final = 30.0
#: How soon after the start it is looked for the first time.
FIRST_SECONDS: Final = 5.0
DATABASE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Vigil:
    """Pings `url` every `every_seconds` while fires are really planned: that the process is alive does not count."""

    url: str
    every_seconds: float
    poll_seconds: float
    engine: EngineFacts
    stopwatch: Stopwatch
    store: Store
    clock: Clock
    pinger: Pinger

    async def keep(self) -> None:
        """Until cancelled."""
        ping = Ping(url=self.url, kind=PingKind.SUCCESS, about=(("about", "engine"),), is_for_engine=True)
        await self.clock.sleep(min(FIRST_SECONDS, self.every_seconds))
        while True:
            await self.look(ping)
            await self.clock.sleep(self.every_seconds)

    async def look(self, ping: Ping) -> None:
        """Pings, or says why not. One that stands by for another process has nothing to say."""
        if self.engine.status == "standby":
            return
        problem = await self._problem()
        if problem is None:
            await self.pinger.reach(ping)
        else:
            structlog.get_logger("agentclock.pings").warning("engine_ping_withheld", detail=problem)

    async def _problem(self) -> str | None:
        """What keeps fires from being planned: the engine must run, its planner must have stepped lately, and the
        database must answer now."""
        planned_ago = self.stopwatch.since_planned()
        if self.engine.status != "running":
            return f"the engine is {self.engine.status}"
        if planned_ago is None or planned_ago > self.poll_seconds + MARGIN_SECONDS:
            return "the planner did not step lately"
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                await self.store.now()
        except (AgentclockError, TimeoutError):
            return "the database does not answer"
        return None
