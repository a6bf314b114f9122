"""The use case of files, on every store: all or nothing, nothing twice, nothing lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from agentclock.applying import TRIES, Action, Applied, Step
from agentclock.core.actors import Actor
from agentclock.core.errors import (
    Forbidden,
    InvalidFields,
    LimitReached,
    ManagedByOthers,
    StoreUnavailable,
    VersionConflict,
)
from agentclock.core.events import Event, FiresAbsent, ScheduleChanged
from agentclock.core.model import RunStatus, Schedule, Target
from agentclock.ports import AuditFilter, PageRequest, RunFilter, ScheduleFilter, Store
from agentclock.scheduler import EngineState, Scheduler
from agentclock.testing import FakeClock

ALL = PageRequest(limit=1_000)


def item(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "endpoint": "/agents/a/runs", "cron_expr": "0 3 * * *"} | fields


@dataclass
class Place:
    """A scheduler on a store, and what it told everybody."""

    store: Store
    clock: FakeClock
    limit: int | None = None
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(
            self.store,
            clock=self.clock,
            wakeup=lambda: None,
            engine_state=lambda: EngineState(status="stopped"),
            publish=self.events.append,
            schedules_per_owner=self.limit,
        )

    async def apply(self, *items: Any, manager: str = "team-a", owner: str | None = None, **more: Any) -> Applied:
        draft = {"manager": manager, "schedules": list(items)}
        options = {name: more.pop(name) for name in ("prune", "adopt", "dry_run") if name in more}
        return await self.scheduler.applying.apply(draft | options, owner=owner, **more)

    async def rows(self) -> dict[str, Schedule]:
        page = await self.store.list_schedules(ScheduleFilter(), ALL)
        return {row.name: row for row in page.items}


@pytest.fixture
def here(store: Store, clock: FakeClock) -> Place:
    return Place(store, clock)


def counts(applied: Applied) -> tuple[int, ...]:
    return tuple(applied.count(action) for action in Action)


def step_of(applied: Applied, name: str) -> Step:
    return next(step for step in applied.steps if step.name == name)


async def test_it_creates_what_is_declared_and_then_nothing_more(here: Place) -> None:
    first = await here.apply(item("one", tags=["x"]), item("two", enabled=False), by=Actor("ann"))
    assert counts(first) == (2, 0, 0, 0)
    rows = await here.rows()
    assert {name: (row.managed_by, row.enabled, row.version) for name, row in rows.items()} == {
        "one": ("apply:team-a", True, 1),
        "two": ("apply:team-a", False, 1),
    }
    assert rows["one"].next_fire_at is not None
    assert rows["two"].next_fire_at is None
    assert [step.after for step in first.steps] == [rows["one"], rows["two"]]
    told = [event.schedule_id for event in here.events if isinstance(event, ScheduleChanged)]
    assert told == [rows["one"].id, rows["two"].id]

    here.clock.advance(3600)
    again = await here.apply(item("one", tags=["x", "x"]), item("two", timezone="utc"), by=Actor("ann"))
    assert counts(again) == (0, 0, 2, 0)
    assert await here.rows() == rows
    assert len((await here.store.audit(AuditFilter(), ALL)).items) == 2
    assert len(here.events) == 2


async def test_what_is_not_said_any_more_is_the_default_again(here: Place) -> None:
    await here.apply(item("one", payload={"a": 1}, max_retries=3, timezone="Europe/Berlin"))
    applied = await here.apply(item("one", cron_expr=None, interval_seconds=60))
    assert step_of(applied, "one").changes == {
        "payload": ({"a": 1}, None),
        "max_retries": (3, 0),
        "timezone": ("Europe/Berlin", "UTC"),
        "cron_expr": ("0 3 * * *", None),
        "interval_seconds": (None, 60),
    }
    row = (await here.rows())["one"]
    assert (row.version, row.retry.max_retries, row.cron_expr, row.interval_seconds) == (2, 0, None, 60)


async def test_whether_it_is_enabled_is_left_to_people_unless_it_is_said(here: Place) -> None:
    await here.apply(item("one"))
    made = (await here.rows())["one"]
    await here.scheduler.disable(made.id)
    assert counts(await here.apply(item("one"))) == (0, 0, 1, 0)
    assert not (await here.rows())["one"].enabled

    applied = await here.apply(item("one", enabled=True))
    assert step_of(applied, "one").changes == {"enabled": (False, True)}
    assert (await here.rows())["one"].next_fire_at == made.next_fire_at
    await here.apply(item("one", enabled=False))
    assert (await here.rows())["one"].next_fire_at is None


async def test_the_next_fire_stays_unless_the_timetable_changes(here: Place) -> None:
    await here.apply(item("every", cron_expr=None, interval_seconds=5_000), item("cron"))
    before = await here.rows()
    here.clock.advance(60)
    await here.apply(item("every", cron_expr=None, interval_seconds=5_000, description="x"), item("cron", method="PUT"))
    after = await here.rows()
    assert {name: row.next_fire_at for name, row in after.items()} == {
        name: row.next_fire_at for name, row in before.items()
    }
    assert after["every"].anchor_at == before["every"].anchor_at


async def test_a_one_off_of_the_past_stays_declared(here: Place) -> None:
    once = item("once", cron_expr=None, run_at="2026-01-01T12:00:00Z")
    await here.apply(once)
    here.clock.advance(3 * 86_400)
    made = (await here.rows())["once"]
    await here.store.change_schedule(made.id, lambda row, now: replace(row, next_fire_at=None))
    assert counts(await here.apply(once)) == (0, 0, 1, 0)
    assert counts(await here.apply(once | {"description": "was fired"})) == (0, 1, 0, 0)
    with pytest.raises(InvalidFields, match="lies in the past"):
        await here.apply(once | {"name": "another"})


async def test_prune_deletes_the_managers_own_only(here: Place) -> None:
    await here.scheduler.create(item("by hand"))
    await here.apply(item("b"), manager="team-b")
    await here.apply(item("one"), item("two"), item("three"))
    kept = await here.apply(item("one"))
    assert (counts(kept), kept.undeclared) == ((0, 0, 1, 0), ("three", "two"))
    assert len(await here.rows()) == 5

    pruned = await here.apply(item("one"), item("four"), prune=True, by=Actor("ann"))
    assert (counts(pruned), pruned.undeclared) == ((1, 0, 1, 2), ())
    assert sorted(await here.rows()) == ["b", "by hand", "four", "one"]
    assert counts(await here.apply(prune=True)) == (0, 0, 0, 2)
    assert sorted(await here.rows()) == ["b", "by hand"]


async def test_what_others_manage_is_taken_over_only_if_asked(here: Place) -> None:
    await here.scheduler.create(item("by hand"))
    await here.apply(item("of b"), manager="team-b")
    before = await here.rows()
    with pytest.raises(ManagedByOthers, match=r"'of b' \(apply:team-b\), 'by hand' \(nobody\)") as caught:
        await here.apply(item("new"), item("of b"), item("by hand"))
    assert caught.value.managers == {"of b": "apply:team-b", "by hand": None}
    assert await here.rows() == before

    taken = await here.apply(item("of b"), item("by hand"), adopt=True)
    assert [step.changes for step in taken.steps] == [
        {"managed_by": ("apply:team-b", "apply:team-a")},
        {"managed_by": (None, "apply:team-a")},
    ]
    after = await here.rows()
    assert {row.id for row in after.values()} == {row.id for row in before.values()}
    assert counts(await here.apply(manager="team-b", prune=True)) == (0, 0, 0, 0)


async def test_owners_have_names_of_their_own(here: Place) -> None:
    await here.apply(item("one"), owner="ann")
    await here.apply(item("one", description="bob's"), owner="bob")
    await here.apply(item("one", description="nobody's"))
    page = await here.store.list_schedules(ScheduleFilter(), ALL)
    assert {(row.user_id, row.description) for row in page.items} == {
        ("ann", None),
        ("bob", "bob's"),
        (None, "nobody's"),
    }
    assert counts(await here.apply(owner="ann", prune=True)) == (0, 0, 0, 1)
    assert counts(await here.apply(item("one", description="bob's"), owner="bob")) == (0, 0, 1, 0)
    assert counts(await here.apply(prune=True)) == (0, 0, 0, 1)


async def test_a_dry_run_writes_nothing(here: Place) -> None:
    await here.apply(item("one"), item("two"))
    before = await here.rows()
    planned = await here.apply(item("one", max_retries=1), item("new"), prune=True, dry_run=True)
    assert (counts(planned), planned.is_dry_run) == ((1, 1, 0, 1), True)
    assert await here.rows() == before


async def test_one_wrong_schedule_and_nothing_is_written(here: Place) -> None:
    wrong = [
        item("two", cron_expr="0 25 * * *", timezone="Europe/Berlim", timout_seconds=3, enabled="on"),
        item("one"),
        "three",
        item("four", endpoint=None, tags=["x", 5]),
    ]
    with pytest.raises(InvalidFields) as caught:
        await here.apply(item("one"), *wrong)
    assert {fault.field: fault.message for fault in caught.value.faults} == {
        "schedules.1.cron_expr": "hour: 25 is not in 0-23",
        "schedules.1.timezone": "unknown time zone 'Europe/Berlim': did you mean Europe/Berlin or Europe/Dublin or "
        "Europe/Rome?",
        "schedules.1.timout_seconds": "unknown field 'timout_seconds': did you mean 'timeout_seconds'?",
        "schedules.1.enabled": "Input should be true or false",
        "schedules.2.name": "'one' is declared before: schedules[0]",
        "schedules.3": "must be a schedule: an object with at least name and endpoint",
        "schedules.4.endpoint": "is empty: give a value, or leave the line out for the default",
        "schedules.4.tags.1": "must be text: write it in quotes",
    }
    with pytest.raises(InvalidFields) as caught:
        await here.apply(item("one"), item("two", target="nope", cron_expr=None, run_at="2020-01-01"))
    assert [fault.field for fault in caught.value.faults] == ["schedules.1.target", "schedules.1.run_at"]
    with pytest.raises(Forbidden, match=r"schedules\[1\] \(two\): the payload claims to be user 'bob'"):
        await here.apply(item("one"), item("two", payload={"user_id": "bob"}), owner="ann")
    assert await here.rows() == {}


async def test_the_limit_of_an_owner_holds(store: Store, clock: FakeClock) -> None:
    here = Place(store, clock, limit=2)
    await here.apply(item("one"), item("two"), owner="ann")
    with pytest.raises(LimitReached):
        await here.apply(item("one", max_retries=1), item("three"), owner="ann")
    assert (await here.rows())["one"].retry.max_retries == 0
    assert counts(await here.apply(item("one"), item("three"), owner="ann", prune=True)) == (1, 0, 1, 1)


async def test_whoever_may_not_have_it_called_changes_nothing(here: Place) -> None:
    asked: list[str] = []

    async def may_call(target: Target) -> None:
        asked.append(target.endpoint)
        if target.endpoint == "/agents/secret/runs":
            raise Forbidden("not that one")

    await here.apply(item("one"), item("two", enabled=False), may_call=may_call)
    asked.clear()
    changed = [item("one", max_retries=2), item("two", enabled=True), item("three", endpoint="/x")]
    await here.apply(*changed, may_call=may_call)
    assert asked == ["/agents/a/runs", "/x"]
    before = await here.rows()
    with pytest.raises(Forbidden, match="not that one"):
        await here.apply(item("four"), item("one", endpoint="/agents/secret/runs"), may_call=may_call)
    assert await here.rows() == before


async def test_fires_that_are_due_do_not_vanish(here: Place) -> None:
    await here.apply(item("one", cron_expr="*/5 * * * *"), item("two"))
    here.clock.advance(11 * 60)
    await here.apply(item("one", cron_expr="0 0 1 1 *"), item("two", max_retries=1))
    runs = (await here.store.list_runs(RunFilter(), ALL)).items
    assert [(run.status, run.fire_count) for run in runs] == [(RunStatus.MISSED, 2)]
    assert [event.count for event in here.events if isinstance(event, FiresAbsent)] == [2]
    assert {row.version for row in (await here.rows()).values()} == {2}


@pytest.mark.parametrize("wait_seconds", [0, 11 * 60])
async def test_a_failed_apply_misses_no_fire(store: Store, clock: FakeClock, wait_seconds: int) -> None:
    """Neither one that was due when it was planned, nor one that comes due while it is written."""
    plain = Place(store, clock)
    await plain.apply(item("one", cron_expr="*/5 * * * *"))
    clock.advance(wait_seconds)

    async def meddle() -> None:
        clock.advance(6 * 60)
        await plain.scheduler.create({"name": "new", "endpoint": "/x"})

    meddled: Any = Meddled(store, meddle)
    place = Place(meddled, clock)
    with pytest.raises(ManagedByOthers):
        await place.apply(item("one", cron_expr="0 0 1 1 *"), item("new"))
    assert not (await store.list_runs(RunFilter(), ALL)).items
    assert place.events == []
    one = (await plain.rows())["one"]
    assert (one.cron_expr, one.version) == ("*/5 * * * *", 1)
    assert one.next_fire_at is not None
    assert one.next_fire_at < clock.now(), "it is due still, and fires"


async def test_fires_that_come_due_in_between_do_not_vanish(store: Store, clock: FakeClock) -> None:
    await Place(store, clock).apply(item("one", cron_expr="*/5 * * * *"))

    async def meddle() -> None:
        clock.advance(11 * 60)

    meddled: Any = Meddled(store, meddle)
    place = Place(meddled, clock)
    await place.apply(item("one", cron_expr="0 0 1 1 *"))
    [run] = (await store.list_runs(RunFilter(), ALL)).items
    assert (run.status, run.fire_count) == (RunStatus.MISSED, 2)
    assert [event.count for event in place.events if isinstance(event, FiresAbsent)] == [2]


class Meddled:
    """A store in which somebody else is quicker: `meddle` happens before each of the first `times` writes."""

    def __init__(self, store: Store, meddle: Any, times: int = 1) -> None:
        self._store, self._meddle, self.left = store, meddle, times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def write_schedules(self, writes: Sequence[Any], **more: Any) -> Any:
        if self.left:
            self.left -= 1
            await self._meddle()
        return await self._store.write_schedules(writes, **more)


async def test_a_change_in_between_is_not_lost(store: Store, clock: FakeClock) -> None:
    plain = Place(store, clock)
    await plain.apply(item("one"), item("two"))
    made = await plain.rows()

    async def meddle() -> None:
        await plain.scheduler.change(made["one"].id, {"description": "by hand", "max_retries": 5})
        await plain.scheduler.create(item("three"))

    meddled: Any = Meddled(store, meddle)
    with pytest.raises(ManagedByOthers, match="three"):
        await Place(meddled, clock).apply(item("one", max_retries=1), item("three"))
    assert (await plain.rows())["one"].description == "by hand"
    applied = await plain.apply(item("one", max_retries=1), item("two"))
    assert step_of(applied, "one").changes == {"description": ("by hand", None), "max_retries": (5, 1)}


async def test_what_somebody_adopts_in_between_is_not_pruned(store: Store, clock: FakeClock) -> None:
    plain = Place(store, clock)
    await plain.apply(item("one"), item("two"))

    async def meddle() -> None:
        await plain.apply(item("two"), manager="team-b", adopt=True)

    meddled: Any = Meddled(store, meddle)
    assert counts(await Place(meddled, clock).apply(item("one"), prune=True)) == (0, 0, 1, 0)
    assert sorted(await plain.rows()) == ["one", "two"]


async def test_time_that_passes_in_between_counts(store: Store, clock: FakeClock) -> None:
    plain = Place(store, clock)
    await plain.apply(item("one"), item("two"))

    async def meddle() -> None:
        clock.advance(600)

    meddled: Any = Meddled(store, meddle)
    await Place(meddled, clock).apply(item("one", cron_expr="*/5 * * * *"), item("two", max_retries=1))
    row = (await plain.rows())["one"]
    assert (row.next_fire_at, row.timetable_since) == (clock.now() + 300_000, clock.now())


async def test_it_gives_up_when_others_never_rest(store: Store, clock: FakeClock) -> None:
    plain = Place(store, clock)
    await plain.apply(item("one"))
    made = (await plain.rows())["one"]
    numbers = iter(range(100))

    async def meddle() -> None:
        await plain.scheduler.change(made.id, {"description": f"number {next(numbers)}"})

    meddled: Any = Meddled(store, meddle, times=100)
    with pytest.raises(VersionConflict):
        await Place(meddled, clock).apply(item("one", max_retries=1))
    assert (await plain.rows())["one"].description == f"number {TRIES - 1}"


async def test_a_failure_in_the_middle_leaves_nothing_behind(store: Store, clock: FakeClock) -> None:
    plain = Place(store, clock)
    await plain.apply(item("one"), item("gone"))
    before = await plain.rows()

    class Breaking:
        """Whose database goes away when half of the changes are made."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        async def write_schedules(self, writes: Sequence[Any], **more: Any) -> Any:
            def away(row: Schedule, now: int) -> Schedule:
                raise StoreUnavailable

            broken = [replace(write, change=away) if hasattr(write, "change") else write for write in writes]
            return await store.write_schedules(broken, **more)

    breaking: Any = Breaking()
    with pytest.raises(StoreUnavailable):
        await Place(breaking, clock).apply(item("new"), item("one", max_retries=1), prune=True)
    assert await plain.rows() == before


async def test_a_thousand_at_once(here: Place) -> None:
    items = [item(f"n{number}", cron_expr=f"{number % 60} {number % 24} * * *") for number in range(1_000)]
    assert counts(await here.apply(*items)) == (1_000, 0, 0, 0)
    items[500] = items[500] | {"max_retries": 1}
    assert counts(await here.apply(*items[1:], item("new"), prune=True)) == (1, 1, 998, 1)


async def test_true_is_not_one(here: Place) -> None:
    await here.apply(item("one", payload={"flag": 1, "ratio": 1}))
    applied = await here.apply(item("one", payload={"flag": True, "ratio": 1.0}))
    assert counts(applied) == (0, 1, 0, 0)
    assert counts(await here.apply(item("one", payload={"flag": True, "ratio": 1.0}))) == (0, 0, 1, 0)
    assert (await here.rows())["one"].target.payload["flag"] is True
