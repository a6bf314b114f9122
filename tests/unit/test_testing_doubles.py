from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.executor_help import recorder

from agentclock.core.model import Outcome, OutcomeKind
from agentclock.executor.supervision import supervised
from agentclock.ports import Clock, Executor, Said
from agentclock.testing import SUCCESS, FakeClock, ScriptedExecutor

FAILED = Outcome(kind=OutcomeKind.FAILED, retryable=True)


async def test_sleepers_wake_in_their_time_and_not_before() -> None:
    clock = FakeClock()
    implements: Clock = clock
    sleeps = [asyncio.create_task(implements.sleep(seconds)) for seconds in (1, 2.5)]
    await clock.until_sleeping(2)
    assert (clock.next_wake_seconds, clock.monotonic()) == (1.0, 0.0)
    clock.advance(ms=999)
    await asyncio.sleep(0)
    assert not sleeps[0].done()
    clock.advance(ms=1)
    await sleeps[0]
    assert (clock.sleeping, clock.next_wake_seconds) == (1, 1.5)
    clock.set(1_767_225_600_000 + 2500)
    await sleeps[1]
    assert (clock.now(), clock.store_now(), clock.monotonic(), clock.next_wake_seconds) == (
        1_767_225_602_500,
        1_767_225_602_500,
        2.5,
        None,
    )


async def test_the_wall_clock_can_be_set_without_time_passing() -> None:
    clock = FakeClock(now_ms=5000)
    sleep = asyncio.create_task(clock.sleep(1))
    await clock.until_sleeping()
    clock.jump(-3)
    assert (clock.now(), clock.monotonic()) == (2000, 0.0)
    clock.jump(3600)
    await asyncio.sleep(0)
    assert not sleep.done()
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)
    sleep.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleep
    assert clock.sleeping == 0


async def test_a_script_is_answered_in_order_and_its_end_repeats() -> None:
    executor = ScriptedExecutor([FAILED, ValueError("ours"), SUCCESS])
    implements: Executor = executor
    assert await implements.execute(recorder().context) is FAILED
    with pytest.raises(ValueError, match="ours"):
        await executor.execute(recorder().context)
    assert [await executor.execute(recorder().context) for _ in range(2)] == [SUCCESS, SUCCESS]
    assert len(executor.contexts) == 4
    with pytest.raises(ValueError, match="at least one answer"):
        ScriptedExecutor([])


async def test_held_calls_end_when_released_or_cancelled() -> None:
    executor = ScriptedExecutor(lambda context: Outcome(kind=OutcomeKind.FAILED, error=context.claim.run.id))
    executor.hold()
    calls = [recorder(name=name).context for name in "abcd"]
    tasks = [asyncio.create_task(executor.execute(call)) for call in calls]
    await executor.started(4)
    assert executor.running == 4
    executor.release(calls[0].claim.run.id)
    assert (await tasks[0]).error == calls[0].claim.run.id
    calls[1].cancelled.set()
    assert (await tasks[1]).kind is OutcomeKind.CANCELLED
    tasks[2].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[2]
    assert (executor.running, executor.interrupted) == (1, 1)
    executor.release()
    assert (await tasks[3]).kind is OutcomeKind.FAILED
    assert await executor.execute(recorder().context)
    assert executor.peak_running == 4


async def test_agents_speak_and_outlive_their_worker_as_they_are_told() -> None:
    heard: list[Said] = []
    hello = Said(type="RunStarted", data={})
    executor = ScriptedExecutor(says=[hello], attachable=lambda claim: claim.run.attempt == 2)
    executor.hold()
    first, second = (replace(recorder().context, emit=heard.append) for _ in range(2))
    second.claim = replace(second.claim, run=replace(second.claim.run, attempt=2))
    tasks = [asyncio.create_task(executor.execute(context)) for context in (first, second)]
    await executor.started(2)
    for context in (first, second):
        context.stopping.set()
    assert [(await task).kind for task in tasks] == [OutcomeKind.LOST, OutcomeKind.DETACHED]
    assert heard == [hello, hello]
    assert not await executor.has_moved_on(first.claim)
    executor.moved_on.add(first.claim.run.id)
    assert await executor.has_moved_on(first.claim)


async def test_supervision_tells_our_limit_from_a_timeout_of_the_work() -> None:
    async def own_timeout() -> Outcome:
        raise TimeoutError("not ours")

    async def good() -> Outcome:
        return SUCCESS

    async def for_ever() -> Outcome:
        await asyncio.Event().wait()
        return SUCCESS

    with pytest.raises(TimeoutError, match="not ours"):
        await supervised(own_timeout(), recorder().context)
    assert await supervised(good(), recorder().context) is SUCCESS
    assert await supervised(for_ever(), recorder(timeout_seconds=0).context) is OutcomeKind.TIMEOUT
    late = recorder().context
    task = asyncio.create_task(supervised(for_ever(), late))
    await asyncio.sleep(0)
    late.cancelled.set()
    assert await task is OutcomeKind.CANCELLED
    assert await supervised(good(), late) is OutcomeKind.CANCELLED
