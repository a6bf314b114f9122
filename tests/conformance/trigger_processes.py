"""The other processes of a test: `python trigger_processes.py <path or dsn>` waits for the line that says go, triggers
the schedule s1 a hundred times at once with one key, and prints the runs that it was answered with."""

from __future__ import annotations

import asyncio
import os
import sys

from agentclock.core.ids import uuid7
from agentclock.core.model import Instant, Schedule
from agentclock.core.planning import Plan, Situation, plan_trigger
from agentclock.core.triggers import TriggerKey
from agentclock.store.postgres import PostgresStore
from agentclock.store.sqlite import SqliteStore
from agentclock.testing import FakeClock

CALLERS = 100


def plan(schedule: Schedule, situation: Situation, now: Instant) -> Plan:
    return plan_trigger(schedule, situation, now, uuid7(now, os.urandom(10)))


async def main(where: str) -> None:
    clock = FakeClock()
    store = PostgresStore(where, clock=clock) if "://" in where else SqliteStore(where, clock=clock)
    await store.open()
    print("ready", flush=True)
    sys.stdin.readline()
    key = TriggerKey(key="k1", fingerprint="f1")
    answers = await asyncio.gather(*(store.trigger("s1", plan, key=key) for _ in range(CALLERS)))
    await store.close()
    for answer in answers:
        print(answer.run.id, answer.is_replay)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
