"""A way into asynchronous code from any thread."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar

import pytest

from agentclock.agno.portal import Portal

VARIABLE: ContextVar[str] = ContextVar("variable", default="unset")


async def where() -> tuple[int, str]:
    return threading.get_ident(), VARIABLE.get()


def test_calls_from_any_thread_run_on_one_and_the_same() -> None:
    portal = Portal("test")
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(portal.call(where())[0])) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    portal.close()
    assert len(found) == 20
    assert len(set(found)) == 1
    assert found[0] != threading.get_ident()


async def test_a_call_on_the_event_loops_own_thread_is_answered() -> None:
    portal = Portal("test")
    VARIABLE.set("of the caller")
    assert portal.call(where())[1] == "of the caller"
    assert (await portal.acall(where()))[1] == "of the caller"
    await asyncio.to_thread(portal.close)


async def test_whoever_stops_waiting_stops_the_work() -> None:
    portal, begun, ended = Portal("test"), threading.Event(), threading.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.create_task(portal.acall(work()))
    assert await asyncio.to_thread(begun.wait, 10)
    waiting.cancel()
    assert await asyncio.to_thread(ended.wait, 10)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.to_thread(portal.close)


def test_closing_ends_what_runs_and_the_next_call_starts_anew() -> None:
    portal = Portal("test")
    first = portal.call(where())[0]
    assert portal.is_open
    portal.close()
    portal.close()
    assert not portal.is_open
    assert first not in {thread.ident for thread in threading.enumerate()}
    assert portal.call(where())[0] != threading.get_ident()
    portal.close()


def test_it_does_not_wait_for_itself() -> None:
    portal = Portal("test")

    async def inside() -> None:
        portal.call(where())

    with pytest.raises(RuntimeError, match="cannot wait for itself"):
        portal.call(inside())
    portal.close()
