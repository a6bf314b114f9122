"""The limits of an attempt."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.executor_help import Recorder, recorder

from agentclock.core.model import Outcome, OutcomeKind
from agentclock.executor.supervision import Silence, supervised

DONE = Outcome(kind=OutcomeKind.SUCCESS)


async def done() -> Outcome:
    return DONE


async def forever() -> Outcome:
    await asyncio.Event().wait()
    return DONE


@pytest.fixture
def call() -> Recorder:
    return recorder(timeout_seconds=3600)


async def test_work_that_is_done_in_time(call: Recorder) -> None:
    assert await supervised(done(), call.context) is DONE


async def test_a_wish_that_was_there_before(call: Recorder) -> None:
    call.context.cancelled.set()
    assert await supervised(done(), call.context) is OutcomeKind.CANCELLED


async def test_the_order_of_reasons(call: Recorder) -> None:
    call.context.stopping.set()
    assert await supervised(forever(), call.context) is OutcomeKind.LOST
    call.context.cancelled.set()
    assert await supervised(forever(), call.context) is OutcomeKind.CANCELLED
    assert await supervised(forever(), call.context, timed=False) is OutcomeKind.LOST


@pytest.mark.parametrize(("event", "kind"), [("cancelled", OutcomeKind.CANCELLED), ("stopping", OutcomeKind.LOST)])
async def test_a_wish_in_the_middle(call: Recorder, event: str, kind: OutcomeKind) -> None:
    begun = asyncio.Event()

    async def work() -> Outcome:
        begun.set()
        return await forever()

    supervising = asyncio.create_task(supervised(work(), call.context))
    await begun.wait()
    getattr(call.context, event).set()
    assert await supervising is kind


async def test_time_that_was_used_before(call: Recorder) -> None:
    call.context.claim = replace(call.context.claim, elapsed_ms=3_600_000)
    assert await supervised(forever(), call.context) is OutcomeKind.TIMEOUT
    call.context.claim = replace(call.context.claim, elapsed_ms=4_000_000)
    assert await supervised(forever(), call.context) is OutcomeKind.TIMEOUT
    call.context.stopping.set()
    assert await supervised(done(), call.context, timed=False) is OutcomeKind.LOST


async def test_silence(call: Recorder) -> None:
    silence = Silence(0.02)

    async def work() -> Outcome:
        silence.heard()
        return await forever()

    assert await supervised(work(), call.context, silence) is OutcomeKind.TIMEOUT
    assert silence.broken


async def test_a_timeout_within_the_work_is_its_own_affair(call: Recorder) -> None:
    async def work() -> Outcome:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        await supervised(work(), call.context)
