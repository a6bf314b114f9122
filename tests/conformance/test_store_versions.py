"""Versions one release apart: this one on the schema before, the one before on this schema, both at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.conformance.conftest import FILE_AND_SERVER, Backend
from tests.conformance.helpers import (
    ALL,
    LATER,
    MINUTE,
    PAUSED,
    START,
    end,
    firing,
    history,
    manual_id,
    nothing,
    register,
    run_of,
    schedule,
    schedule_of,
    triggering,
)
from tests.conformance.older import database_at

from agentclock.core.actors import Actor
from agentclock.core.backfills import Backfill
from agentclock.core.errors import Conflict, LimitReached, SchemaBehind, StoreUnavailable
from agentclock.core.lifecycle import settle
from agentclock.core.model import Overlap, RunStatus, TriggerNote
from agentclock.core.notices import Subscription
from agentclock.core.planning import plan, plan_trigger
from agentclock.core.revisions import RevisionKind
from agentclock.core.triggers import TriggerKey
from agentclock.ports import AuditFilter, NoticeFilter, RunFilter, ScheduleFilter, Store
from agentclock.store.columns import NEWEST_SCHEMA, OLDEST_SCHEMA
from agentclock.store.migrating import load_migrations
from agentclock.store.queries import Dialect, Queries
from agentclock.testing import FakeClock

KEY = TriggerKey(key="k1", fingerprint="f1")
BACKFILL = Backfill(id="b1", schedule_id="s1", from_at=START - MINUTE, until_at=START, created_at=START)


@pytest.fixture(params=FILE_AND_SERVER)
async def behind(request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Backend]:
    """A database as the oldest version left it that we go on with."""
    made = _left_at(OLDEST_SCHEMA, request, clock, tmp_path)
    yield made
    await made.close()


@pytest.fixture(params=FILE_AND_SERVER)
async def without_books(request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Backend]:
    """A database from before the audit log, owners and notices."""
    made = _left_at(4, request, clock, tmp_path)
    yield made
    await made.close()


@pytest.fixture(params=FILE_AND_SERVER)
async def one_behind(request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Backend]:
    """A database as the version before left it."""
    made = _left_at(NEWEST_SCHEMA - 1, request, clock, tmp_path)
    yield made
    await made.close()


def _left_at(version: int, request: pytest.FixtureRequest, clock: FakeClock, folder: Path) -> Backend:
    dialect: Dialect = "sqlite" if request.param == "file" else "postgres"
    where = str(folder / "agentclock.db") if dialect == "sqlite" else request.getfixturevalue("empty_postgres_dsn")
    return database_at(version, dialect, where, clock)


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_the_newest_step_is_known_by_its_number(dialect: Dialect) -> None:
    assert load_migrations(dialect)[-1].version == NEWEST_SCHEMA


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_queries_for_the_schema_before_name_nothing_of_this_one(dialect: Dialect) -> None:
    queries = Queries(dialect, version=OLDEST_SCHEMA)
    texts = {name: queries.get(name).sql for name in queries.names}
    tables = ("schedule_revisions", "backfills", "trigger_keys", "audit_log", "owners", "notices")
    columns = (
        "s.catch_up_limit",
        "s.catch_up_stagger_seconds",
        "ping_url =",
        "r.trigger_note",
        "r.retry_of",
        "w.slots",
    )
    columns += ("folded_text", "runs_fires")
    # A comment may, and so may the names that constants go by.
    code = {name: "\n".join(line for line in sql.splitlines() if "--" not in line) for name, sql in texts.items()}
    prefix = "agentclock_" if dialect == "sqlite" else '"agentclock".'
    assert not [(name, table) for name, sql in code.items() for table in tables if prefix + table in sql]
    assert not [(name, column) for name, sql in code.items() for column in columns if column in sql]
    assert "{since" not in "".join(texts.values())
    newest = "".join(Queries(dialect).get(name).sql for name in queries.names)
    assert all(prefix + table in newest for table in tables)


async def test_an_older_schema_than_the_one_before_is_refused(
    clock: FakeClock, tmp_path: Path, empty_postgres_dsn: str
) -> None:
    places: list[tuple[Dialect, str]] = [("sqlite", str(tmp_path / "old.db")), ("postgres", empty_postgres_dsn)]
    for dialect, where in places:
        backend = database_at(OLDEST_SCHEMA - 1, dialect, where, clock)
        with pytest.raises(StoreUnavailable, match=f"lacks 4 step\\(s\\), up to version {NEWEST_SCHEMA}"):
            await backend.open(auto_migrate=False)


async def test_what_there_was_before_works_on_the_schema_before(behind: Backend, clock: FakeClock) -> None:
    store = await behind.open(auto_migrate=False)
    await register(store, lease_seconds=10**6)
    made = schedule(overlap=Overlap.QUEUE, catch_up_limit=7, ping_url="https://ping.example")
    await store.insert_schedules([made, schedule("s2", next_fire_at=None)], by=Actor("ann"))
    # What the schema has no room for is what it always was.
    known = replace(made, catch_up_limit=100, ping_url=None)
    assert await schedule_of(store) == known
    assert (await store.list_schedules(ScheduleFilter(name_contains="s1"), ALL)).items == (known,)
    changed = await store.change_schedule("s1", lambda s, now: replace(s, description="changed"), by=Actor("bob"))
    assert await schedule_of(store) == changed
    (claim,) = (await store.fire_due(firing(START, again_at=START), limit=5, worker_id="w1", slots=1)).claims
    assert claim.schedule.catch_up_limit == 100
    await store.fire_due(firing(START + 1, available=None), limit=5)
    await store.trigger("s2", triggering(manual_id(START)))
    assert await store.note_agent_run(claim.run.id, claim.run.fence, "agent", None)
    await end(store, claim, PAUSED)
    assert len(await store.paused_due(5)) == 0
    assert await store.request_cancel(claim.run.id) is RunStatus.PENDING
    for claim in (await store.claim("w1", 5)).claims:
        await end(store, claim, LATER)
    for claim in (await store.claim("w1", 5)).claims:
        await end(store, claim)
    assert [run.status.value for run in await history(store)] == ["cancelled", "success"]
    assert (await store.accounting("s1", START - 1, START + 1)).runs == 2
    assert (await store.backlog()).pending == 0
    assert await store.release_waiting() == 0
    assert await store.delete_schedule("s2", by=Actor("ann"))
    assert await store.prune(START + MINUTE, 100) == 3


async def test_what_is_new_says_what_it_lacks(behind: Backend) -> None:
    store = await behind.open(auto_migrate=False)
    await store.insert_schedules([schedule()])
    await store.change_schedule("s1", lambda s, now: replace(s, description="changed"))
    await store.fire_due(lambda s, situation, now: replace(nothing(s, situation, now), fault="odd"), limit=1)
    assert await store.revisions("s1") == []
    for asking in (store.backfills("s1"), store.insert_backfill(BACKFILL, []), store.cancel_backfill("b1")):
        with pytest.raises(SchemaBehind, match="lacks step 4; run `agentclock db upgrade`") as caught:
            await asking
        assert isinstance(caught.value, Conflict)
    health = await store.health()
    assert health.schema_version == OLDEST_SCHEMA
    assert "the schema lacks step 4, 5, 6 and what needs it; run `agentclock db upgrade`" in health.warnings


@pytest.mark.parametrize("looking", ["health", "renew_lease", "backfills"])
async def test_an_upgrade_underneath_is_noticed(behind: Backend, looking: str) -> None:
    store = await behind.open(auto_migrate=False)
    await register(store)
    await store.insert_schedules([schedule(version=4)])
    await behind.open()
    match looking:
        case "health":
            assert (await store.health()).schema_version == NEWEST_SCHEMA
        case "renew_lease":
            assert (await store.renew_lease("w1", 30)).alive
        case _:
            assert await store.backfills("s1") == []
    after = await store.change_schedule("s1", lambda s, now: replace(s, catch_up_limit=5), by=Actor("ann"))
    assert await schedule_of(store) == after
    assert [one.kind for one in await store.revisions("s1")] == [RevisionKind.CHANGED, RevisionKind.FOUND]
    assert await store.insert_backfill(BACKFILL, []) == 0


async def as_before(behind: Backend, version: int = OLDEST_SCHEMA) -> Store:
    """A process that was started before the upgrade: its statements are those of the schema before."""
    store = await behind.open(auto_migrate=False)
    await behind.open()
    assert store._queries.version == version  # type: ignore[attr-defined]
    return store


async def test_the_version_before_goes_on_on_this_schema(behind: Backend, clock: FakeClock) -> None:
    before = await as_before(behind)
    after = await behind.open()
    await register(after, "w2", lease_seconds=10**6)
    await before.insert_schedules([schedule()], by=Actor("ann"))
    found = await schedule_of(after)
    assert (found.catch_up_limit, found.catch_up_stagger_seconds, found.ping_url) == (100, 1, None)
    await after.change_schedule("s1", lambda s, now: replace(s, ping_url="https://ping.example"), by=Actor("bob"))
    await before.change_schedule("s1", lambda s, now: replace(s, description="older"), by=Actor("ann"))
    # What the older version does not know stays as it is.
    assert (await schedule_of(after)).ping_url == "https://ping.example"
    assert [(one.version, one.kind.value) for one in await after.revisions("s1")] == [(2, "changed"), (1, "found")]
    await before.fire_due(firing(START, again_at=START), limit=5)
    (claim,) = (await after.claim("w2", 5)).claims
    await end(before, claim)
    assert (await run_of(after, claim.run.id)).status is RunStatus.SUCCESS


async def test_both_versions_fire_side_by_side(behind: Backend, clock: FakeClock) -> None:
    """Every fire once, whoever is faster."""
    before = await as_before(behind)
    after = await behind.open()
    names = [f"s{number}" for number in range(10)]
    await before.insert_schedules([schedule(name) for name in names[:5]])
    await after.insert_schedules([schedule(name) for name in names[5:]])
    for _ in range(3):
        batches = [store.fire_due(plan, limit=4) for _ in range(3) for store in (before, after)]
        fired = [run.id for found in await asyncio.gather(*batches) for run in found.runs]
        assert len(fired) == len(set(fired)) <= 10
        clock.advance(60)
    while (await after.fire_due(plan, limit=10)).planned:
        pass
    for name in names:
        assert (await after.accounting(name, START - 1, clock.now())).total == 4
        assert await before.accounting(name, START - 1, clock.now()) == await after.accounting(
            name, START - 1, clock.now()
        )


async def test_the_version_before_lacks_the_books_and_nothing_else(without_books: Backend, clock: FakeClock) -> None:
    """Nobody writes down who did what or whom to tell, and runs forget what their trigger said; all of it works."""
    store = await without_books.open(auto_migrate=False, subscriptions=[Subscription(webhook="ops")])
    await register(store, lease_seconds=10**6)
    ann = Actor("ann")
    mine = [schedule(f"s{number}", user_id="ann", next_fire_at=None) for number in (1, 2)]
    await store.insert_schedules(mine, by=ann, owner_limit=2)
    with pytest.raises(LimitReached):
        await store.insert_schedules([schedule("s3", user_id="ann")], by=ann, owner_limit=2)
    found = await store.list_schedules(ScheduleFilter(name="name of s1"), ALL)
    assert found.items == (mine[0],)
    run_id, note = manual_id(START), TriggerNote(reason="nightly", by="ann")
    made = await store.trigger(
        "s1", lambda s, situation, now: plan_trigger(s, situation, now, run_id, fire_at=0, note=note), by=ann
    )
    assert (made.run.id, made.run.fire_at, made.run.trigger_note, made.is_replay) == (run_id, 0, None, False)
    (claim,) = (await store.claim("w1", 5)).claims
    outcome = replace(LATER, retryable=False, disables="revoked")
    assert await store.settle([settle(claim, outcome, START)]) == {run_id}
    gone = await schedule_of(store)
    assert (gone.enabled, gone.disabled_reason) == (False, "revoked")
    assert [one.by for one in await store.revisions("s1")] == ["agentclock", "ann"]
    waiting = await store.trigger("s2", triggering(manual_id(START)), by=ann)
    assert await store.request_cancel(waiting.run.id, by=ann) is RunStatus.CANCELLED
    assert (await store.list_runs(RunFilter(schedule_id="s2", until=START + 1), ALL)).total_count == 1
    assert await store.delete_schedule("s2", by=ann)
    assert await store.prune(START + MINUTE, 100) == 2


async def test_the_version_before_says_what_it_lacks(without_books: Backend) -> None:
    store = await without_books.open(auto_migrate=False)
    await store.insert_schedules([schedule()])
    note = TriggerNote(has_payload=True)
    for asking in (
        # A payload of its own is what the run is about: it must not run with the schedule's instead.
        store.trigger("s1", lambda s, situation, now: plan_trigger(s, situation, now, manual_id(now), note=note)),
        store.trigger("s1", triggering(manual_id(START)), key=KEY),
        store.audit(AuditFilter(), ALL),
        store.see_owner("ann", (), None),
        store.owner("ann"),
        store.owners(ALL),
        store.revoke_owner("ann", True, by=Actor("admin")),
        store.claim_notices(1, 60),
        store.settle_notices([]),
        store.next_notice_ms(),
        store.hasten_notices("ops", 60),
        store.notices(NoticeFilter(), ALL),
        store.retry_notice("n1"),
    ):
        with pytest.raises(SchemaBehind, match="lacks step 5; run `agentclock db upgrade`"):
            await asking
    assert await history(store) == []
    await without_books.open()
    made = await store.trigger("s1", triggering(manual_id(START)), key=KEY, by=Actor("ann"))
    assert (await store.audit(AuditFilter(), ALL)).items[0].run_id == made.run.id


async def test_what_is_told_of_triggers_is_left_alone_by_the_version_before(without_books: Backend) -> None:
    before = await as_before(without_books, 4)
    after = await without_books.open()
    await register(before, lease_seconds=10**6)
    await before.insert_schedules([schedule(next_fire_at=None, overlap=Overlap.ALLOW)], by=Actor("ann"))
    note = TriggerNote(reason="nightly")
    made = await after.trigger(
        "s1", lambda s, situation, now: plan_trigger(s, situation, now, manual_id(now), note=note), key=KEY
    )
    other = (await before.trigger("s1", triggering(manual_id(START)))).run
    for claim in (await before.claim("w1", 5)).claims:
        await end(before, claim)
    run = await run_of(after, made.run.id)
    assert (run.status, run.trigger_note) == (RunStatus.SUCCESS, note)
    assert (await run_of(after, other.id)).trigger_note is None
    assert (await after.trigger("s1", triggering(manual_id(START)), key=KEY)).run == run
