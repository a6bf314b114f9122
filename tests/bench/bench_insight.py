"""What screens ask of a store, on ten thousand schedules with a million runs of history.

    python tests/bench/bench_insight.py [WHERE]

WHERE: a file or a PostgreSQL URL that tests.history_loader has filled already; without it, a new file is filled first.
Prints the median and the fastest of several calls, what CPU time of this process one of them took (of SQLite all of it,
of PostgreSQL its client's part), and what they may take where they take more.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.history_loader import load_history, store_at

from agentclock.core.actors import Actor
from agentclock.core.model import DAY_SECONDS, SECOND, RunStatus, Schedule, Target
from agentclock.ports import (
    ChangeSchedule,
    DeleteSchedule,
    InsertSchedule,
    PageRequest,
    RunFilter,
    ScheduleFilter,
    ScheduleOrder,
    Store,
)

ROUNDS = 7
QUICK = bool(os.environ.get("BENCH_QUICK"))
HOUR_MS, DAY_MS = 3_600 * SECOND, DAY_SECONDS * SECOND
PAGE = PageRequest(limit=100)

Ask = Callable[[], Awaitable[Any]]


async def questions(store: Store) -> list[tuple[str, int, Ask]]:
    """What is asked, how many milliseconds it may take, and the asking."""
    briefs = await store.briefs(ScheduleFilter(), 10_000)
    ids = [brief.id for brief in briefs]
    now = max(brief.next_fire_at or 0 for brief in briefs) // DAY_MS * DAY_MS
    day = RunFilter(since=now - DAY_MS, until=now)
    week = replace(day, since=now - 7 * DAY_MS)
    many, trouble = tuple(ids[::3]), (RunStatus.FAILED, RunStatus.TIMEOUT, RunStatus.LOST)
    asked: list[tuple[str, int, Ask]] = [
        ("fires of a day in 288 bins", 50, lambda: store.count_fires(day, 288)),
        ("fires of a week in 500 bins", 300, lambda: store.count_fires(week, 500)),
        ("  of an owner", 300, lambda: store.count_fires(replace(week, user_id="ann"), 500)),
        ("  of 3,333 schedules", 300, lambda: store.count_fires(replace(week, schedule_ids=many), 500)),
        ("  of one schedule", 300, lambda: store.count_fires(replace(week, schedule_id=ids[0]), 500)),
        ("failures of a day", 20, lambda: store.failures(day, 5_000)),
        ("  of an owner", 20, lambda: store.failures(replace(day, user_id="ann"), 5_000)),
        ("the newest 1,000 failures", 20, lambda: store.failures(RunFilter(), 1_000)),
        ("marks of 50 schedules, 12 each", 10, lambda: store.marks(ids[:50], limit=12)),
        ("  500 each, with usage", 150, lambda: store.marks(ids[:50], limit=500, with_usage=True)),
        ("the newest 1,000 marks", 20, lambda: store.newest_marks(RunFilter(), 1_000)),
        ("failures by schedule of a day", 50, lambda: store.counts_by_schedule(replace(day, statuses=trouble), 100)),
        ("fires by schedule of a day", 100, lambda: store.counts_by_schedule(day, 100)),
        ("overview", 20, store.overview),
        ("  of an owner", 20, lambda: store.overview("ann")),
        ("10,000 briefs", 150, lambda: store.briefs(ScheduleFilter(), 10_000)),
        ("10,000 names", 50, lambda: store.schedule_names(ids)),
    ]
    filters = {
        "all": ScheduleFilter(),
        "by text": ScheduleFilter(text="customer 77"),
        "by text that nothing has": ScheduleFilter(text="élan"),
        "enabled": ScheduleFilter(enabled=True),
        "by tag": ScheduleFilter(tag="ops"),
        "by name": ScheduleFilter(name_contains="TRIAGE"),
        "by target": ScheduleFilter(target="agent-7"),
        "of an owner": ScheduleFilter(user_id="ann"),
        "by manager": ScheduleFilter(managed_by="apply:platform"),
    }
    for order in ScheduleOrder:
        for name, where in filters.items():

            def ask(order: ScheduleOrder = order, where: ScheduleFilter = where) -> Awaitable[Any]:
                return store.list_schedules(where, PAGE, order)

            asked.append((f"a page {name}, {order}", 20, ask))
    return asked


async def writing(store: Store) -> tuple[float, float]:
    """Seconds for a thousand each of insertions, changes and deletions, and for as many insertions to begin with."""
    now = await store.now()

    def named(word: str) -> list[Schedule]:
        target = Target(endpoint="/agents/echo/runs")
        return [
            Schedule(id=f"{word}{n} {now}", name=f"{word}{n} {now}", target=target, created_at=now)
            for n in range(1_000)
        ]

    bench = Actor("bench")
    started = time.perf_counter()
    await store.write_schedules([InsertSchedule(schedule=one) for one in (*named("a"), *named("b"))], by=bench)
    first = time.perf_counter() - started
    started = time.perf_counter()
    await store.write_schedules(
        [
            *(InsertSchedule(schedule=one) for one in named("c")),
            *(
                ChangeSchedule(schedule_id=one.id, change=lambda s, now: replace(s, description="changed"))
                for one in named("a")
            ),
            *(DeleteSchedule(schedule_id=one.id) for one in named("b")),
        ],
        by=bench,
    )
    seconds = time.perf_counter() - started
    rest = (*named("a"), *named("c"))
    await store.write_schedules([DeleteSchedule(schedule_id=one.id) for one in rest], by=bench)
    return seconds, first


async def measure(where: str) -> None:
    store = store_at(where)
    await store.open()
    try:
        for name, limit, ask in await questions(store):
            times, busy = [], []
            for _ in range(ROUNDS):
                started, busy_before = time.perf_counter(), time.process_time()
                await ask()
                times.append((time.perf_counter() - started) * 1_000)
                busy.append((time.process_time() - busy_before) * 1_000)
            typical = median(times)
            verdict = "" if typical < limit else f"> {limit}"
            print(f"{name:42} {typical:7.1f} ms, at best {min(times):7.1f}, of CPU {min(busy):7.1f}   {verdict}")
        seconds, first = await writing(store)
        print(f"1,000 insertions, changes and deletions each: {seconds:.2f} s; 2,000 insertions: {first:.2f} s")
    finally:
        await store.close()


def main() -> None:
    if len(sys.argv) > 1:
        asyncio.run(measure(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        where = str(Path(folder, "history.db"))
        asyncio.run(load_history(where, schedules=1_000 if QUICK else 10_000, runs=50_000 if QUICK else 1_000_000))
        asyncio.run(measure(where))


if __name__ == "__main__":
    main()
