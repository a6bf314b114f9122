"""Why did it run at that time, or why not? Asked of the records that the engine itself has written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from tests.apis import DRAFT, World, world
from tests.rig import Rig

from agentclock.backfilling import BackfillDraft
from agentclock.core.actors import Actor
from agentclock.core.errors import InvalidField, NotFound
from agentclock.core.instants import iso_utc
from agentclock.core.model import Outcome, OutcomeKind
from agentclock.core.moments import moment_shown
from agentclock.core.planning import plan
from agentclock.core.whynot import Fact, Verdict
from agentclock.core.zones import Zone
from agentclock.insight import Why
from agentclock.testing import SUCCESS, ScriptedExecutor

ADA = Actor("ada")
FAILED = Outcome(kind=OutcomeKind.FAILED, retryable=True, status_code=503, error="HTTP 503: no room left")
REFUSED = Outcome(kind=OutcomeKind.REFUSED, retryable=True, error="connection refused")


def instant(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000)


@dataclass(slots=True)
class Scene:
    here: World
    executor: ScriptedExecutor
    rig: Rig
    schedule_id: str = ""

    async def create(self, **fields: Any) -> None:
        schedule = await self.here.scheduler.create(DRAFT | fields, by=ADA)
        self.schedule_id = schedule.id

    async def at(self, text: str, *, works: bool = True) -> None:
        """It becomes that late; what is due happens, if anybody `works`."""
        self.here.clock.set(instant(text))
        if works:
            await self.rig.keeper.step()
            await self.rig.tick()

    async def change(self, **fields: Any) -> None:
        await self.here.scheduler.change(self.schedule_id, fields, by=Actor("bob"))

    async def why(self, at: str | None = None) -> Why:
        return await self.here.scheduler.insight.why(self.schedule_id, at)

    async def says(self, at: str | None, verdict: Verdict, *parts: str) -> Why:
        found = await self.why(at)
        answer = found.because.answer
        assert found.because.verdict is verdict, answer
        for part in parts:
            assert part in answer, answer
        assert answer.endswith(".")
        assert "\n" not in answer
        return found


def fact(found: Why, kind: str) -> Fact:
    return next(fact for fact in found.because.facts if fact.kind == kind)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """On 28 March 2026 at noon in Rome."""
    async with world() as here:
        here.clock.set(instant("2026-03-28T11:00:00Z"))
        executor = ScriptedExecutor([SUCCESS])
        yield Scene(here, executor, await Rig(here.store, here.clock, executor).begin())


# it ran


async def test_it_ran_on_time(scene: Scene) -> None:
    await scene.create(cron_expr="0 15 * * *")
    await scene.at("2026-03-28T15:00:00.200Z")
    found = await scene.says(
        "2026-03-28T15:00", Verdict.RAN, "15:00 on 28 March 2026", "on time (200 ms late)", "succeeded"
    )
    assert found.because.run_id is not None
    assert (iso_utc(found.because.at or 0), found.moment.local) == (
        "2026-03-28T15:00:00.000Z",
        "2026-03-28T15:00:00+00:00",
    )
    assert (iso_utc(found.before or 0), iso_utc(found.after or 0)) == (
        "2026-03-27T15:00:00.000Z",
        "2026-03-29T15:00:00.000Z",
    )
    same = await scene.why("2026-03-28T16:00:30+01:00")
    assert (same.because.run_id, (await scene.why(None)).because.run_id) == (found.because.run_id,) * 2


async def test_it_ran_late_and_failed(scene: Scene) -> None:
    scene.executor.script = [FAILED]
    await scene.create(cron_expr="0 15 * * *", max_retries=1, retry_delay_seconds=60)
    await scene.at("2026-03-28T15:00:10Z")
    waits = await scene.says(
        "2026-03-28T15:00", Verdict.WAITING, "waits for attempt 2, at 15:01:10", "attempt 1 failed: HTTP 503"
    )
    assert fact(waits, "attempt").run_id == waits.because.run_id
    await scene.at("2026-03-28T15:01:10Z")
    found = await scene.says(
        "2026-03-28T15:00", Verdict.RAN, "10 s late, at 15:00:10", "failed after 1 min", "attempt 2"
    )
    assert "no room left" in found.because.answer
    assert "overloaded" in fact(found, "hint").text
    again = await scene.here.scheduler.retry(scene.schedule_id, found.because.run_id or "", by=Actor("bob"))
    known = fact(await scene.why("2026-03-28T15:00"), "retried")
    assert (known.run_id, known.by) == (again.run.id, "bob")


async def test_a_target_that_refuses_is_waited_for(scene: Scene) -> None:
    scene.executor.script = [REFUSED]
    await scene.create(cron_expr="0 15 * * *")
    await scene.at("2026-03-28T15:00:00Z")
    found = await scene.says("2026-03-28T15:00", Verdict.WAITING, "refuses the connection", "again at 15:00:01")
    assert "connection once" in fact(found, "refused").text


async def test_it_is_running_and_then_its_worker_dies(scene: Scene) -> None:
    scene.executor.hold()
    await scene.create(cron_expr="0 15 * * *")
    await scene.at("2026-03-28T15:00:00Z")
    await scene.says("2026-03-28T15:00", Verdict.RUNNING, "is running since 15:00")
    await scene.at("2026-03-28T15:30:00Z", works=False)
    await scene.says("2026-03-28T15:00", Verdict.RUNNING, "no sign of life since 15:00:15", "no other worker")
    scene.executor.release()
    await scene.rig.settled()


async def test_nobody_is_there_to_execute_it(scene: Scene) -> None:
    await scene.create(cron_expr="0 15 * * *")
    await scene.here.scheduler.trigger(scene.schedule_id, by=ADA)
    scene.here.clock.advance(60)
    await scene.says("2026-03-28T11:00", Verdict.NOT_DUE, "15:00")
    run = (await scene.here.scheduler.runs(scene.schedule_id)).items[0].run
    found = await scene.why("2026-03-28T11:00")
    assert (fact(found, "manual").run_id, fact(found, "manual").by) == (run.id, "ada")


async def test_a_fire_that_was_planned_waits_for_a_worker(scene: Scene) -> None:
    await scene.create(cron_expr="0 15 * * *")
    scene.here.clock.set(instant("2026-03-28T15:00:00Z"))
    await scene.here.store.fire_due(plan, limit=10)
    scene.here.clock.advance(120)
    await scene.says("2026-03-28T15:00", Verdict.WAITING, "for a worker", "none has been alive since 11:00:15")


async def test_it_was_cancelled_before_it_began(scene: Scene) -> None:
    await scene.create(cron_expr="0 15 * * *")
    scene.here.clock.set(instant("2026-03-28T15:00:00Z"))
    await scene.here.store.fire_due(plan, limit=10)
    run = (await scene.here.scheduler.runs(scene.schedule_id)).items[0].run
    scene.here.clock.advance(60)
    await scene.here.runs.cancel(scene.schedule_id, run.id, by=Actor("bob"))
    await scene.says("2026-03-28T15:00", Verdict.SKIPPED, "bob cancelled it at 15:01 before it began")


# it did not


async def test_the_run_before_was_in_its_way(scene: Scene) -> None:
    scene.executor.hold()
    await scene.create(cron_expr="*/10 * * * *")
    for minute in ("10", "20", "30"):
        await scene.at(f"2026-03-28T15:{minute}:00Z")
    found = await scene.says(
        "2026-03-28T15:20", Verdict.SKIPPED, "the run of 15:10 had been running since 15:10", "overlap=skip"
    )
    rival = fact(found, "overlap").run_id
    assert (rival is not None, rival != found.because.run_id) == (True, True)
    assert "2 fires in a row" in fact(found, "stretch").text
    again = await scene.says("2026-03-28T15:30", Verdict.SKIPPED, "the run of 15:10")
    assert again.because.run_id == found.because.run_id
    scene.executor.release()
    await scene.rig.settled()


async def test_a_run_in_the_queue_waits_for_the_one_before(scene: Scene) -> None:
    scene.executor.hold()
    await scene.create(cron_expr="*/10 * * * *", overlap="queue")
    for minute in ("10", "20", "30"):
        await scene.at(f"2026-03-28T15:{minute}:00Z")
    await scene.says(
        "2026-03-28T15:20", Verdict.WAITING, "for the run before it to end: the run of 15:10", "overlap=queue"
    )
    await scene.says("2026-03-28T15:30", Verdict.SKIPPED, "the run of 15:10 had", "another run was waiting already")
    scene.executor.release()
    await scene.rig.settled()


@pytest.mark.parametrize(
    ("policy", "missed", "words"),
    [
        ("latest", Verdict.MISSED, "only the newest is made up"),
        ("none", Verdict.MISSED, "missed fires are not made up"),
        ("all", Verdict.RAN, "made up at 15:35"),
    ],
)
async def test_an_outage_and_what_is_owed(scene: Scene, policy: str, missed: Verdict, words: str) -> None:
    scene.here.clock.set(instant("2026-03-28T14:55:00Z"))
    await scene.create(cron_expr="*/10 * * * *", catch_up=policy, misfire_grace_seconds=60, catch_up_stagger_seconds=0)
    await scene.at("2026-03-28T15:00:00Z")
    await scene.at("2026-03-28T15:35:00Z", works=False)
    await scene.says("2026-03-28T15:20", Verdict.OVERDUE, "15 min ago", "no worker is alive", "15:00:15")
    for _ in range(4):  # each waits for the one before it
        await scene.at("2026-03-28T15:35:00Z")
    found = await scene.says("2026-03-28T15:10", missed, words)
    if missed is Verdict.MISSED:
        assert "until 15:35, 25 min later" in found.because.answer
        assert f"catch_up={policy}" in fact(found, "policy").text
    if policy == "latest":
        newest = await scene.says("2026-03-28T15:30", Verdict.RAN, "made up at 15:35, 5 min after its time")
        assert fact(found, "made_up").run_id == newest.because.run_id


async def test_it_was_disabled_then(scene: Scene) -> None:
    await scene.create(cron_expr="0 15 * * *")
    await scene.at("2026-03-28T14:00:00Z")
    await scene.here.scheduler.disable(scene.schedule_id, by=Actor("bob"))
    await scene.at("2026-03-28T14:30:00Z")
    await scene.says("2026-03-28T15:00", Verdict.DISABLED, "will not run", "bob disabled it at 14:00")
    await scene.at("2026-03-28T15:30:00Z")
    await scene.says("2026-03-28T15:00", Verdict.DISABLED, "did not run", "bob disabled it at 14:00")
    await scene.here.scheduler.enable(scene.schedule_id, by=ADA)
    await scene.at("2026-03-29T16:00:00Z")
    found = await scene.says("2026-03-28T15:00", Verdict.DISABLED, "bob disabled it", "enabled again at 15:30 by ada")
    assert (fact(found, "disabled").by, fact(found, "enabled").by) == ("bob", "ada")
    await scene.says("2026-03-29T15:00", Verdict.RAN)


async def test_it_is_outside_of_its_window(scene: Scene) -> None:
    await scene.create(cron_expr="0 15 * * *", start_at="2026-03-30T00:00:00Z", end_at="2026-04-01T00:00:00Z")
    await scene.at("2026-04-02T16:00:00Z")
    await scene.says("2026-03-29T15:00", Verdict.OUTSIDE_WINDOW, "before it starts, at 00:00 on 30 March 2026")
    await scene.says("2026-04-01T15:00", Verdict.OUTSIDE_WINDOW, "after it ended, at 00:00")


async def test_it_had_had_all_its_runs(scene: Scene) -> None:
    await scene.create(cron_expr="0 15 * * *", max_runs=1)
    await scene.at("2026-03-28T15:00:00Z")
    await scene.at("2026-03-29T16:00:00Z")
    await scene.says("2026-03-28T15:00", Verdict.RAN)
    await scene.says("2026-03-29T15:00", Verdict.MAX_RUNS, "its one run", "15:00 on 28 March")
    await scene.says("2026-03-30T15:00", Verdict.MAX_RUNS)


async def test_it_was_not_there_yet(scene: Scene) -> None:
    await scene.create(cron_expr="0 15 * * *")
    found = await scene.says("2026-03-27T15:00", Verdict.NOT_YET_CREATED, "created at 11:00 on 28 March 2026 by ada")
    assert fact(found, "created").by == "ada"


async def test_another_timetable_ruled_then(scene: Scene) -> None:
    await scene.create(cron_expr="0 13 * * *")
    await scene.at("2026-03-28T15:30:00Z")
    await scene.change(cron_expr="0 15 * * *")
    await scene.at("2026-03-29T16:00:00Z")
    found = await scene.says(
        "2026-03-28T15:00", Verdict.NOT_DUE, "was another one, with a fire at 13:00; bob changed it at 15:30"
    )
    assert fact(found, "changed").by == "bob"
    await scene.says("2026-03-28T13:00", Verdict.RAN)
    await scene.says("2026-03-29T13:00", Verdict.NOT_DUE, "15:00")


async def test_nothing_is_due_at_such_a_time(scene: Scene) -> None:
    await scene.create(cron_expr="0 15 * * *")
    await scene.at("2026-03-28T16:00:00Z")
    await scene.says("2026-03-28T15:07", Verdict.NOT_DUE, "before is at 15:00 and the next at 15:00 on 29 March")
    await scene.says("2026-03-29T15:00", Verdict.FUTURE, "in 23 h")
    await scene.says("2026-03-29T15:30", Verdict.NOT_DUE)


async def test_without_a_timetable(scene: Scene) -> None:
    await scene.create(cron_expr=None)
    await scene.says(None, Verdict.NOT_DUE, "only when triggered")


async def test_one_shot_and_intervals(scene: Scene) -> None:
    await scene.create(cron_expr=None, run_at="2026-03-28T15:00:00Z")
    await scene.at("2026-03-28T15:00:00Z")
    await scene.says("2026-03-28T15:00", Verdict.RAN)
    found = await scene.says("2026-03-28T17:00", Verdict.NOT_DUE, "before is at 15:00")
    assert found.after is None
    await scene.create(name="interval", cron_expr=None, interval_seconds=45)
    await scene.at("2026-03-28T15:00:45Z")
    await scene.says("2026-03-28T15:00:45", Verdict.RAN, "15:00:45")
    found = await scene.says("2026-03-28T15:00:50", Verdict.RAN, "due at 15:00:45")
    assert iso_utc(found.because.at or 0) == "2026-03-28T15:00:45.000Z"


async def test_a_backfill_ran_it(scene: Scene) -> None:
    await scene.create(cron_expr="0 15 * * *")
    await scene.here.scheduler.backfills.create(
        scene.schedule_id, BackfillDraft.model_validate({"from": "2026-03-25", "until": "2026-03-26"}), by=ADA
    )
    await scene.at("2026-03-28T11:01:00Z")
    found = await scene.says("2026-03-25T15:00", Verdict.NOT_YET_CREATED)
    assert "backfill ran it" in fact(found, "backfill").text
    assert fact(found, "backfill").run_id is not None


async def test_of_a_deleted_schedule_its_revisions_tell(scene: Scene) -> None:
    await scene.create(cron_expr="0 15 * * *")
    await scene.at("2026-03-28T15:00:00Z")
    await scene.at("2026-03-28T16:00:00Z")
    await scene.here.scheduler.delete(scene.schedule_id, by=Actor("bob"))
    await scene.at("2026-03-29T16:00:00Z")
    await scene.says("2026-03-29T15:00", Verdict.DISABLED, "deleted at 16:00 on 28 March 2026 by bob")
    await scene.says("2026-03-28T15:00", Verdict.RAN)


# clocks that are changed


async def test_a_time_that_does_not_exist_is_made_up_right_after(scene: Scene) -> None:
    await scene.create(cron_expr="30 2 * * *", timezone="Europe/Rome")
    ahead = await scene.says("2026-03-29T02:30", Verdict.DOES_NOT_EXIST, "it runs right after the jump, at 03:00")
    assert (ahead.moment.local, iso_utc(ahead.because.at or 0)) == ("2026-03-29T02:30:00", "2026-03-29T01:00:00.000Z")
    await scene.at("2026-03-29T01:00:00Z")
    found = await scene.says(
        "2026-03-29T02:30",
        Verdict.DOES_NOT_EXIST,
        "02:30 does not exist on 29 March 2026 in Europe/Rome",
        "it ran at 03:00 instead and succeeded",
    )
    assert found.because.run_id is not None
    assert (await scene.says("2026-03-29T03:00", Verdict.RAN)).because.run_id == found.because.run_id
    await scene.says("2026-03-29T02:45", Verdict.DOES_NOT_EXIST, "does not name it")


async def test_what_repeats_by_the_clock_skips_what_does_not_exist(scene: Scene) -> None:
    await scene.create(cron_expr="30 * * * *".replace("30", "*/30"), timezone="Europe/Rome")
    await scene.at("2026-03-29T02:00:00Z")
    found = await scene.says("2026-03-29T02:30", Verdict.DOES_NOT_EXIST, "repeats by the clock")
    assert (found.because.run_id, found.because.at) == (None, None)


async def test_a_whole_day_that_does_not_exist(scene: Scene) -> None:
    zone = Zone.load("Pacific/Apia")
    moment = moment_shown(datetime(2011, 12, 30, 12, 0), zone)
    assert moment.is_skipped
    await scene.create(cron_expr="0 12 * * *", timezone="Pacific/Apia")
    await scene.says("2011-12-30T12:00", Verdict.DOES_NOT_EXIST, "such a long jump")


async def test_a_time_that_comes_twice_runs_once(scene: Scene) -> None:
    scene.here.clock.set(instant("2026-10-24T12:00:00Z"))
    await scene.create(cron_expr="30 2 * * *", timezone="Europe/Rome")
    await scene.at("2026-10-25T00:30:00Z")
    await scene.at("2026-10-25T02:00:00Z")
    found = await scene.says("2026-10-25T02:30", Verdict.RAN, "02:30 on 25 October 2026")
    assert "this is the first time" in fact(found, "clock_change").text
    await scene.says("2026-10-25T02:30+01:00", Verdict.NOT_DUE, "twice", "first time only")
    assert (await scene.why("2026-10-25T02:30+02:00")).because.run_id == found.because.run_id


async def test_what_repeats_by_the_clock_runs_both_times(scene: Scene) -> None:
    scene.here.clock.set(instant("2026-10-24T12:00:00Z"))
    await scene.create(cron_expr="*/30 * * * *", timezone="Europe/Rome")
    runs = []
    for hour, offset in (("00", "+02:00"), ("01", "+01:00")):
        await scene.at(f"2026-10-25T{hour}:30:00Z")
        runs.append((await scene.says(f"2026-10-25T02:30{offset}", Verdict.RAN)).because.run_id)
    assert runs[0] != runs[1]


async def test_what_older_code_left_no_record_of_is_not_made_up(scene: Scene) -> None:
    await scene.create(cron_expr="0 15 * * *")
    scene.here.store.revisions = none_of  # type: ignore[method-assign, assignment]
    await scene.change(cron_expr="30 15 * * *")
    await scene.at("2026-03-28T16:00:00Z")
    await scene.change(cron_expr="45 15 * * *")
    await scene.at("2026-03-28T17:00:00Z")
    await scene.says("2026-03-28T15:10", Verdict.UNKNOWN, "older than its oldest revision")


async def none_of(*_: object) -> list[Any]:
    return []


# questions


@pytest.mark.parametrize("at", ["", "soon", "2026-02-30T00:00", "10000-01-01", "1969-12-31T23:00Z", "\0", "9" * 60])
async def test_what_is_no_time_is_refused(scene: Scene, at: str) -> None:
    await scene.create()
    with pytest.raises(InvalidField):
        await scene.why(at)


async def test_a_plus_that_a_url_has_lost_is_found_again(scene: Scene) -> None:
    await scene.create(cron_expr="0 15 * * *")
    assert (await scene.why("2026-03-28T16:00:00 01:00")).moment.at == instant("2026-03-28T15:00:00Z")


async def test_schedules_of_others_do_not_exist(scene: Scene) -> None:
    await scene.create()
    for schedule_id, user_id in ((scene.schedule_id, "eve"), ("nonsense", None), ("\0", None)):
        with pytest.raises(NotFound):
            await scene.here.scheduler.insight.why(schedule_id, None, user_id=user_id)
