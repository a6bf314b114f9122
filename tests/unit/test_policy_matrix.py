"""What an overlap policy makes of a fire, a trigger and a caught-up fire in every situation, written out by hand: the
real planner on a real store. Outages: `test_policy_outages`; changes: `test_policy_changes`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.apis import PAUSED
from tests.policy_bench import Bench, at, open_bench

from agentclock.core.ids import uuid7
from agentclock.core.lifecycle import settle
from agentclock.core.model import CatchUp, Cause, InstructionKind, Overlap, Reason, Run, RunStatus
from agentclock.core.planning import plan_trigger


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with open_bench() as made:
        yield made


def table(text: str) -> list[list[str]]:
    return [line.split() for line in text.strip().splitlines()[1:] if line.strip()]


# Overlap: what a fire, a trigger and a caught-up fire come to while earlier runs are in whatever state.
# `runs`, `waits`, or skipped with a reason; `stops+waits`: what was active is told to stop, the new run waits for that.

OVERLAP = """
overlap  cause     idle    running      running+waiting  paused       pending
skip     schedule  runs    overlap      overlap          overlap      overlap
skip     manual    runs    overlap      overlap          overlap      overlap
skip     catch_up  runs    overlap      overlap          overlap      overlap
queue    schedule  runs    waits        queue_full       waits        waits
queue    manual    runs    waits        queue_full       waits        waits
queue    catch_up  runs    waits        queue_full       waits        waits
allow    schedule  runs    runs         runs             runs         runs
allow    manual    runs    runs         runs             runs         runs
allow    catch_up  runs    runs         runs             runs         runs
cancel   schedule  runs    stops+waits  stops+waits      stops+waits  stops+runs
cancel   manual    runs    stops+waits  stops+waits      stops+waits  stops+runs
cancel   catch_up  runs    stops+waits  stops+waits      stops+waits  stops+runs
"""
SITUATIONS = ("idle", "running", "running+waiting", "paused", "pending")


async def bring_about(bench: Bench, situation: str) -> None:
    """Hourly, and the fire of 01:00 stands like that at 01:30; of two, that of 02:00 waits, at 02:30."""
    await bench.add(cron_expr="0 * * * *", overlap=Overlap.QUEUE)
    await bench.plan("01:00")
    match situation:
        case "idle":
            await bench.store.request_cancel((await bench.runs())[0].id)
        case "running" | "running+waiting" | "paused":
            [claim] = (await bench.store.claim(bench.rig.worker.id, 1)).claims
            if situation == "paused":
                await bench.store.settle([settle(claim, PAUSED, bench.clock.now())])
    if situation == "running+waiting":
        await bench.plan("02:00")


def is_told_to_stop(run: Run) -> bool:
    instructed = run.instruction is not None and run.instruction.kind is InstructionKind.CANCEL
    return run.status is RunStatus.CANCELLED or run.cancel_requested or instructed


async def new_fire(bench: Bench, cause: Cause, when: int) -> None:
    match cause:
        case Cause.SCHEDULE:
            await bench.plan(f"{when:02}:00")
        case Cause.CATCH_UP:
            await bench.plan(f"{when:02}:10")
        case _:
            run_id = uuid7(at(f"{when - 1:02}:50"), bytes(10))
            bench.clock.set(at(f"{when - 1:02}:50"))
            await bench.store.trigger("s1", lambda *known: plan_trigger(*known, run_id))


@pytest.mark.parametrize(
    ("overlap", "cause", "situation", "expected"),
    [
        pytest.param(Overlap(overlap), Cause(cause), situation, word, id=f"{overlap}-{cause}-{situation}")
        for overlap, cause, *words in table(OVERLAP)
        for situation, word in zip(SITUATIONS, words, strict=True)
    ],
)
async def test_overlap(bench: Bench, overlap: Overlap, cause: Cause, situation: str, expected: str) -> None:
    await bring_about(bench, situation)
    before = await bench.runs()
    await bench.change(overlap=overlap)
    await new_fire(bench, cause, when=3 if situation == "running+waiting" else 2)
    rows = {run.id: run for run in await bench.runs()}
    earlier = [rows.pop(run.id) for run in before]
    [new] = rows.values()
    stop, _, word = expected.rpartition("+")
    match word:
        case "runs":
            assert new.status is RunStatus.PENDING
            assert new.available_at is not None
            assert new.available_at <= bench.clock.now()
        case "waits":
            assert (new.status, new.available_at) == (RunStatus.PENDING, None)
        case reason:
            assert (new.status, new.reason) == (RunStatus.SKIPPED, Reason(reason))
            assert new.cause is (Cause.MANUAL if cause is Cause.MANUAL else Cause.SCHEDULE)
    if new.reason is None:
        assert new.cause is cause
    if stop:
        assert all(is_told_to_stop(run) for run in earlier)
    else:
        assert earlier == before


# catch_up=all: three fires were missed meanwhile. `stops`: as above, of all that was active.

LINE = """
overlap idle              running                 running+waiting         paused                  pending
skip    runs,waits,waits  waits,waits,waits       waits,waits,waits       waits,waits,waits       waits,waits,waits
queue   runs,waits,waits  waits,waits,waits       waits,waits,waits       waits,waits,waits       waits,waits,waits
allow   runs,+1s,+2s      runs,+1s,+2s            runs,+1s,+2s            runs,+1s,+2s            runs,+1s,+2s
cancel  runs,waits,waits  stops,waits,waits,waits stops,waits,waits,waits stops,waits,waits,waits stops,runs,waits,waits
"""


@pytest.mark.parametrize(
    ("overlap", "situation", "expected"),
    [
        pytest.param(Overlap(overlap), situation, words.split(","), id=f"{overlap}-{situation}")
        for overlap, *row in table(LINE)
        for situation, words in zip(SITUATIONS, row, strict=True)
    ],
)
async def test_all_in_line(bench: Bench, overlap: Overlap, situation: str, expected: list[str]) -> None:
    await bring_about(bench, situation)
    before = await bench.runs()
    await bench.change(overlap=overlap, catch_up=CatchUp.ALL)
    await bench.plan("04:10" if situation != "running+waiting" else "05:10")
    rows = await bench.runs()
    earlier, new = rows[: len(before)], rows[len(before) :]
    assert [bench.word(run) for run in new] == [word for word in expected if word != "stops"]
    assert {run.cause for run in new} == {Cause.CATCH_UP}
    if "stops" in expected:
        assert all(is_told_to_stop(run) for run in earlier)
    else:
        assert earlier == before
