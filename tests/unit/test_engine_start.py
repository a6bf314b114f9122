"""A start that goes wrong is tried again, whatever went wrong: an engine never ends by itself."""

from __future__ import annotations

from tests.rig import NoWakeup

from agentclock.core.events import EngineTrouble, Event
from agentclock.engine.bus import Bus
from agentclock.engine.service import FAULT_PAUSE_SECONDS, Engine, EngineOptions, EngineStatus
from agentclock.store.sqlite import SqliteStore
from agentclock.testing import FakeClock, ScriptedExecutor


async def test_a_fault_while_the_engine_prepares_is_told_and_tried_again() -> None:
    clock, bus, events, faults = FakeClock(), Bus(), list[Event](), [ValueError("a fault of ours")]
    bus.subscribe(events.append)
    store = SqliteStore(":memory:", clock=clock)
    await store.open()

    async def prepare() -> None:
        if faults:
            raise faults.pop()

    engine = Engine(
        store=store,
        executor=ScriptedExecutor(),
        clock=clock,
        bus=bus,
        wakeup=NoWakeup(),
        options=EngineOptions(history_days=None),
        prepare=prepare,
    )
    engine.start()
    await clock.until_sleeping()
    assert engine.status is EngineStatus.STARTING
    assert [event.error for event in events if isinstance(event, EngineTrouble)] == ["a fault of ours"]
    clock.advance(FAULT_PAUSE_SECONDS)
    while engine.status is not EngineStatus.RUNNING:
        await clock.sleep(0)
    await engine.stop()
    await store.close()
