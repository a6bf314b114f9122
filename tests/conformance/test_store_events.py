"""Event logs of runs: written under the fence, in order, at most once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.conformance.conftest import Backend
from tests.conformance.helpers import DETACHED, MINUTE, START, SUCCESS, end, held, register

from agentclock.core.ids import fire_run_id
from agentclock.core.model import Claim, Json
from agentclock.ports import EventBatch, EventCursor, LoggedEvent, Store
from agentclock.store import postgres_history, sqlite_history
from agentclock.testing import FakeClock


def event(claim: Claim, seq: int, **fields: Json) -> LoggedEvent:
    given = {"attempt": claim.run.attempt, "at": START + seq, "type": "RunContent", "data": {"content": str(seq)}}
    return LoggedEvent(run_id=claim.run.id, seq=seq, **(given | fields))


def batch(claim: Claim, *events: LoggedEvent | int, keep_from_seq: int = 1) -> EventBatch:
    """Events, or the numbers of some."""
    made = tuple(event(claim, each) if isinstance(each, int) else each for each in events)
    return EventBatch(run_id=claim.run.id, fence=claim.run.fence, events=made, keep_from_seq=keep_from_seq)


async def seqs(store: Store, claim: Claim, after: int = 0, limit: int = 100) -> list[int]:
    return [found.seq for found in await store.events_after(claim.run.id, after, limit)]


async def test_events_come_back_as_they_were_logged(store: Store) -> None:
    await register(store)
    claim = await held(store)
    said = {"content": "nul \0 surrogate \ud800 ünï\u2028", "more": [1, 2.5, None, True]}
    events = (
        event(claim, 1, type="attempt", data=None),
        event(claim, 2, data=said, source_index=0),
        event(claim, 3, data="text", source_index=7),
        event(claim, 4, data=[], at=START + MINUTE),
    )
    assert await store.append_events([batch(claim, *events)]) == {claim.run.id}
    assert tuple(await store.events_after(claim.run.id, 0, 100)) == events
    assert await store.events_after(claim.run.id, 2, 1) == [events[2]]
    assert await store.events_after(claim.run.id, 4, 10) == []
    assert await store.events_after(claim.run.id, 0, 0) == []


async def test_many_runs_are_written_at_once(store: Store) -> None:
    await register(store)
    a, b, c = await held(store, "a"), await held(store, "b"), await held(store, "c")
    assert await store.append_events([]) == frozenset()
    written = await store.append_events([batch(b, 1), batch(a, 1, 2), batch(c)])
    assert written == {a.run.id, b.run.id, c.run.id}
    assert [await seqs(store, each) for each in (a, b, c)] == [[1, 2], [1], []]


async def test_what_is_there_already_is_left_as_it_is(store: Store) -> None:
    await register(store)
    claim = await held(store)
    first = batch(claim, 1, 2)
    await store.append_events([first])
    again = batch(claim, event(claim, 2, data="another"), 3)
    assert await store.append_events([again, batch(claim, 3, 4)]) == {claim.run.id}
    found = await store.events_after(claim.run.id, 0, 10)
    assert [each.seq for each in found] == [1, 2, 3, 4]
    assert found[1] == first.events[1]


async def test_a_stale_fence_writes_nothing(store: Store, clock: FakeClock) -> None:
    await register(store)
    old, fine = await held(store), await held(store, "s2")
    await store.append_events([batch(old, 1)])
    await end(store, old, DETACHED)
    assert await store.append_events([batch(old, 2)]) == frozenset()  # nobody runs it
    (new,) = (await store.claim("w1", 1)).claims
    stale = batch(old, event(old, 2, data="stale"), keep_from_seq=2)
    assert await store.append_events([stale, batch(fine, 1)]) == {fine.run.id}
    assert await seqs(store, old) == [1]
    assert await store.append_events([stale, batch(new, 2)]) == {new.run.id}  # of one run in one call
    assert [each.data for each in await store.events_after(new.run.id, 1, 10)] == [{"content": "2"}]
    nobody = replace(new, run=replace(new.run, id=fire_run_id("nobody", 1)))
    assert await store.append_events([batch(nobody, 1)]) == frozenset()


async def test_a_take_over_ends_the_old_workers_log(store: Store, clock: FakeClock) -> None:
    await register(store)
    old = await held(store)
    clock.advance(31)
    (orphan,) = await store.orphans(1)
    assert await store.append_events([batch(old, 1)]) == frozenset()
    assert await store.append_events([batch(orphan, 1)]) == {old.run.id}


async def test_the_log_of_a_run_that_is_over_is_closed(store: Store) -> None:
    await register(store)
    claim = await held(store)
    await end(store, claim, SUCCESS)
    assert await store.append_events([batch(claim, 1)]) == frozenset()


async def test_old_events_make_room(store: Store) -> None:
    await register(store)
    claim, other = await held(store), await held(store, "s2")
    await store.append_events([batch(claim, 1, 2, 3), batch(other, 1, 2, 3)])
    await store.append_events([batch(claim, 4, keep_from_seq=3)])
    assert (await seqs(store, claim), await seqs(store, other)) == ([3, 4], [1, 2, 3])
    await store.append_events([batch(claim, *range(5, 30), keep_from_seq=28)])
    assert await seqs(store, claim) == [28, 29]
    assert (await store.event_cursor(claim.run.id)).kept_from_seq == 28


async def test_the_cursor_says_where_the_log_stands(store: Store) -> None:
    await register(store)
    claim = await held(store)
    assert await store.event_cursor(claim.run.id) == EventCursor()
    for nobody in (fire_run_id("nobody", 1), "no id at all \ud800"):
        assert await store.event_cursor(nobody) == EventCursor()
        assert await store.events_after(nobody, 0, 10) == []
    first = event(claim, 1, data={"a": 1}, source_index=4)
    await store.append_events([batch(claim, first, event(claim, 2, data=None))])
    cursor = EventCursor(seq=2, kept_from_seq=1, attempt=1, source_index=4, size_bytes=len('{"a":1}'))
    assert await store.event_cursor(claim.run.id) == cursor
    await store.append_events([batch(claim, event(claim, 3, attempt=2, data=None))])
    assert await store.event_cursor(claim.run.id) == replace(cursor, seq=3, attempt=2, source_index=None)


async def test_a_number_beyond_all_measure_is_no_index(store: Store) -> None:
    await register(store)
    claim = await held(store)
    await store.append_events([batch(claim, event(claim, 1, source_index=10**30))])
    assert [each.source_index for each in await store.events_after(claim.run.id, 0, 1)] == [None]


@pytest.mark.parametrize(("column", "bad"), [("data", "{"), ("data", "NaN nonsense")])
async def test_an_unreadable_event_is_left_out(store: Store, backend: Backend, column: str, bad: str) -> None:
    await register(store)
    claim = await held(store)
    await store.append_events([batch(claim, 1, 2, 3)])
    await backend.execute(f"UPDATE {{prefix}}run_events SET {column} = ? WHERE seq = 2", bad)
    assert await seqs(store, claim) == [1, 3]


async def test_many_events_are_deleted_in_portions(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (sqlite_history, postgres_history):
        monkeypatch.setattr(module, "PRUNED_EVENTS", 3)
    await register(store)
    claims = [await held(store, "a"), await held(store, "b")]
    await store.append_events([batch(claim, 1, 2) for claim in claims])
    for claim in claims:
        await end(store, claim)
    assert await store.prune(START + MINUTE, 10) == 10
    assert sum([len(await seqs(store, claim)) for claim in claims]) == 1
    assert await store.get_run(claims[0].run.id) is not None
    assert await store.prune(START + MINUTE, 10) == 2
    assert [await seqs(store, claim) for claim in claims] == [[], []]
    assert await store.get_run(claims[0].run.id) is None


async def test_events_go_with_their_run(store: Store) -> None:
    await register(store)
    gone, kept = await held(store, "gone"), await held(store, "kept")
    await store.append_events([batch(gone, 1, 2), batch(kept, 1)])
    await end(store, gone)
    assert await store.prune(START + MINUTE, 10) == 1
    assert (await seqs(store, gone), await seqs(store, kept)) == ([], [1])
