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
from agentclock.core.errors import Conflict, SchemaBehind, StoreUnavailable
from agentclock.core.model import Overlap, RunStatus
from agentclock.core.planning import plan
from agentclock.core.revisions import RevisionKind
from agentclock.ports import ScheduleFilter, Store
from agentclock.store.columns import NEWEST_SCHEMA, OLDEST_SCHEMA
from agentclock.store.migrating import load_migrations
from agentclock.store.queries import Dialect, Queries
from agentclock.testing import FakeClock

BACKFILL = Backfill(id="b1", schedule_id="s1", from_at=START - MINUTE, until_at=START, created_at=START)


@pytest.fixture(params=FILE_AND_SERVER)
async def behind(request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Backend]:
    """A database as the version before left it."""
    dialect: Dialect = "sqlite" if request.param == "file" else "postgres"
    where = str(tmp_path / "agentclock.db") if dialect == "sqlite" else request.getfixturevalue("empty_postgres_dsn")
    made = database_at(OLDEST_SCHEMA, dialect, where, clock)
    yield made
    await made.close()


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_the_newest_step_is_known_by_its_number(dialect: Dialect) -> None:
    assert load_migrations(dialect)[-1].version == NEWEST_SCHEMA


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_queries_for_the_schema_before_name_nothing_of_this_one(dialect: Dialect) -> None:
    queries = Queries(dialect, version=OLDEST_SCHEMA)
    texts = {name: queries.get(name).sql for name in queries.names}
    new = ("schedule_revisions", "backfills", "s.catch_up_limit", "s.catch_up_stagger_seconds", "ping_url =")
    # A comment may, and so may the names that constants go by.
    code = {name: "\n".join(line for line in sql.splitlines() if "--" not in line) for name, sql in texts.items()}
    assert not [(name, word) for name, sql in code.items() for word in new if f"agentclock_{word}" in sql]
    assert not [name for name, sql in code.items() for word in new[2:] if word in sql]
    assert "{since" not in "".join(texts.values())


async def test_an_older_schema_than_the_one_before_is_refused(
    clock: FakeClock, tmp_path: Path, empty_postgres_dsn: str
) -> None:
    places: list[tuple[Dialect, str]] = [("sqlite", str(tmp_path / "old.db")), ("postgres", empty_postgres_dsn)]
    for dialect, where in places:
        backend = database_at(OLDEST_SCHEMA - 1, dialect, where, clock)
        with pytest.raises(StoreUnavailable, match=f"lacks 2 step\\(s\\), up to version {NEWEST_SCHEMA}"):
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
    await store.fire_one("s2", triggering(manual_id(START)))
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
    assert "the schema lacks step 4 and what needs it; run `agentclock db upgrade`" in health.warnings


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


async def as_before(behind: Backend) -> Store:
    """A process that was started before the upgrade: its statements are those of the schema before."""
    store = await behind.open(auto_migrate=False)
    await behind.open()
    assert store._queries.version == OLDEST_SCHEMA  # type: ignore[attr-defined]
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
