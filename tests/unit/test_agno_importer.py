"""Moving over from agno's scheduler: what becomes of each schedule and each past run, and what is said of it."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from agno.scheduler.cron import compute_next_run

from agentclock.agno.importer import Fate, Importer, ImportReport, ScheduleReport
from agentclock.agno.importer_cron import Comparer, NoComparison, agno_next_run, compare_year, in_words, read_expression
from agentclock.agno.importer_history import read_history
from agentclock.agno.importer_schedule import Remark, remarks_on, schedule_of
from agentclock.core.cron import Cron, CronError
from agentclock.core.errors import InvalidField, NameTaken
from agentclock.core.instants import iso_utc
from agentclock.core.model import DAY_SECONDS, SECOND, Cause, RunStatus, Schedule, Target
from agentclock.core.zones import Zone
from agentclock.ports import PageRequest, RunFilter, ScheduleFilter
from agentclock.store.sqlite import SqliteStore
from agentclock.testing import FakeClock

#: Where FakeClock starts, in agno's seconds: 2026-01-01 00:00 UTC.
NOW = 1_767_225_600
NOW_MS = NOW * SECOND


def row(**fields: Any) -> dict[str, Any]:
    """A schedule of agno's: every day at 07:00, an agent."""
    given = {
        "id": "a1",
        "name": "daily",
        "description": None,
        "method": "POST",
        "endpoint": "/agents/assistant/runs",
        "payload": {"message": "hello"},
        "cron_expr": "0 7 * * *",
        "timezone": "UTC",
        "timeout_seconds": 600,
        "max_retries": 0,
        "retry_delay_seconds": 60,
        "enabled": 1,
        "next_run_at": NOW + 7 * 3600,
        "locked_by": None,
        "locked_at": None,
        "user_id": None,
        "created_at": NOW - 1000,
        "updated_at": None,
    }
    return given | fields


def attempt(row_id: str, number: int, began: int, ended: int | None, status: str, **fields: Any) -> dict[str, Any]:
    """A row of agno's history; times in seconds before or after NOW."""
    return {
        "id": row_id,
        "schedule_id": "a1",
        "attempt": number,
        "triggered_at": NOW + began,
        "completed_at": None if ended is None else NOW + ended,
        "status": status,
        "created_at": NOW + began,
    } | fields


def remarks(**fields: Any) -> list[Remark]:
    given = row(**fields)
    return list(remarks_on(given, schedule_of(given, NOW_MS), NOW_MS, Comparer(NOW, agno_next_run())))


# expressions


@pytest.mark.parametrize("expression", ["0 7 * * *", "*/5 * * * *", "0 0 1 * 5", "30 2 * * *"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_what_agno_fires_next_is_computed_as_agno_does(expression: str, zone: str) -> None:
    at, ours = int(time.time()) + DAY_SECONDS, agno_next_run()
    for _ in range(5):
        assert ours(expression, zone, at) == compute_next_run(expression, zone, at)
        at = ours(expression, zone, at)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("0 22-4 * * *", "0 0-4,22-23 * * *"),
        ("0 0 * * fri-mon", "0 0 * * 0-1,5-6"),
        ("0 0 * 11-2 *", "0 0 * 1-2,11-12 *"),
        ("0 0 * * L5", "0 0 * * 5L"),
        ("5 4 * * * 0", "5 4 * * *"),
        ("0 20-2/2 * * mon", "0 0,2,20,22 * * mon"),
    ],
)
def test_what_only_croniter_reads_is_written_in_our_words(theirs: str, ours: str) -> None:
    assert read_expression(theirs).text == ours
    found = compare_year(theirs, "UTC", Cron.parse(ours), Zone.load("UTC"), NOW, agno_next_run())
    assert found.is_equal, found


@pytest.mark.parametrize(
    ("theirs", "reason"),
    [
        ("* * * * * */10", "6 fields instead of 5"),
        ("0 0 1 1 * 0 2030", "7 fields instead of 5"),
        ("R R * * *", "random"),
        ("0 0 30 2 *", "never fires"),
        ("", "on demand"),
    ],
)
def test_what_has_no_words_of_ours_is_refused(theirs: str, reason: str) -> None:
    if not theirs:
        assert schedule_of(row(cron_expr=theirs), NOW_MS).next_fire_at is None
        return
    with pytest.raises(CronError, match=reason):
        read_expression(theirs)
    with pytest.raises(InvalidField, match=reason) as refused:
        schedule_of(row(cron_expr=theirs), NOW_MS)
    assert refused.value.field == "cron_expr"


@pytest.mark.parametrize(
    ("expression", "zone", "expected"),
    [
        ("30 2 * * *", "Europe/Berlin", ["clock changes: only agno fires 2026-10-25T02:30:00+01:00"]),
        ("*/15 2 * * *", "America/New_York", ["clock changes: only agno fires 2026-03-08T03:00:00-04:00"]),
        ("* * * * *", "Europe/Berlin", []),
        ("0 0 1 * 1", "UTC", []),
        ("0 7 * * *", "UTC", []),
    ],
)
def test_a_year_of_fires(expression: str, zone: str, expected: list[str]) -> None:
    cron, place = Cron.parse(expression), Zone.load(zone)
    found = compare_year(expression, zone, cron, place, NOW, agno_next_run())
    assert list(in_words(found, cron, place)) == expected


def test_the_rule_of_the_two_day_fields_shows_in_frequent_expressions_too() -> None:
    for expression in ("0 0 */2 * 1", "* * */2 * 1"):
        cron, zone = Cron.parse(expression), Zone.load("UTC")
        found = compare_year(expression, "UTC", cron, zone, NOW, agno_next_run())
        assert len(found.only_agno) > 100
        assert not found.only_ours
        assert "only if that is a Monday" in next(in_words(found, cron, zone))


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
def test_what_is_compared_once_for_many_gives_the_same_words(zone: str) -> None:
    place, comparer = Zone.load(zone), Comparer(NOW, agno_next_run())
    texts = [
        "30 2 * * *",
        "0 7 * * *",
        "0 0 1 * 1",
        "0 0 */2 * 1",
        "30 1 1 * *",
        "30 2 25 10 *",
        "0 12 * * sun",
        "@daily",
    ]
    for text in texts * 2:
        cron = Cron.parse(text)
        year = compare_year(text, zone, cron, place, NOW, agno_next_run())
        assert list(comparer.differences(text, zone, cron, place)) == list(in_words(year, cron, place)), text


def test_thousands_of_schedules_do_not_each_take_a_year() -> None:
    asked, next_run = [], agno_next_run()

    def counted(text: str, zone: str, after: int) -> int:
        asked.append(text)
        return next_run(text, zone, after)

    comparer, zone = Comparer(NOW, counted), Zone.load("UTC")
    for minute in range(60):
        assert not comparer.differences(f"{minute} 9 * * *", "UTC", Cron.parse(f"{minute} 9 * * *"), zone)
    assert len(asked) < 366 + 60 * 5


@pytest.mark.parametrize("missing", ["croniter", "pytz"])
async def test_without_croniter_nothing_is_compared(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(NoComparison, match=f"{missing} is not installed"):
        agno_next_run()
    importer = Importer(source=Source(row(cron_expr="0 0 */2 * 1")), store=None, now=NOW_MS, next_run=None)
    report = await importer.run(apply=False)
    assert not report.compared
    assert [remark.field for remark in report.schedules[0].remarks] == ["next_run_at"]


def test_what_croniter_gives_up_on_is_said() -> None:
    found = compare_year("0 0 30 2 *", "UTC", Cron.parse("0 0 1 2 *"), Zone.load("UTC"), NOW, agno_next_run())
    assert "would switch the schedule off" in next(in_words(found, Cron.parse("0 0 1 2 *"), Zone.load("UTC")))


# schedules


def test_a_schedule_keeps_what_it_is() -> None:
    given = row(
        description="words",
        user_id="mona",
        max_retries=2,
        timezone="europe/berlin",
        created_by_run_id="r9",
        managed_by="studio",
    )
    schedule = schedule_of(given, NOW_MS)
    assert schedule == replace(
        schedule,
        id="a1",
        name="daily",
        description="words",
        user_id="mona",
        target=Target(endpoint="/agents/assistant/runs", payload={"message": "hello"}),
        cron_expr="0 7 * * *",
        timezone="Europe/Berlin",
        timeout_seconds=600,
        enabled=True,
        managed_by="studio",
        provenance={"created_by_run_id": "r9"},
        created_at=(NOW - 1000) * SECOND,
        timetable_since=NOW_MS,
    )
    assert (schedule.retry.max_retries, schedule.retry.delay_seconds) == (2, 60)
    assert schedule.next_fire_at is not None
    assert iso_utc(schedule.next_fire_at) == "2026-01-01T06:00:00.000Z"


def test_a_disabled_one_stays_disabled_with_its_reason() -> None:
    schedule = schedule_of(row(enabled=0, disabled_reason="target_archived"), NOW_MS)
    assert (schedule.enabled, schedule.disabled_reason, schedule.next_fire_at) == (False, "target_archived", None)


def test_what_agno_reads_as_its_default_is_our_default() -> None:
    schedule = schedule_of(row(timeout_seconds=0, retry_delay_seconds=0), NOW_MS)
    assert (schedule.timeout_seconds, schedule.retry.delay_seconds) == (3600, 60)


def test_older_releases_lack_columns() -> None:
    given = {name: value for name, value in row().items() if name not in ("user_id", "locked_by", "updated_at")}
    assert schedule_of(given, NOW_MS).user_id is None
    assert not list(remarks_on(given, schedule_of(given, NOW_MS), NOW_MS, Comparer(NOW, agno_next_run())))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "täglich"}, "name"),
        ({"endpoint": "https://elsewhere/x"}, "endpoint"),
        ({"timezone": "Europe/Atlantis"}, "timezone"),
        ({"timeout_seconds": 100_000}, "timeout_seconds"),
        ({"max_retries": 11}, "max_retries"),
        ({"retry_delay_seconds": 4000}, "retry_delay_seconds"),
        ({"payload": ["not", "an", "object"]}, "payload"),
        ({"payload": "{broken"}, "payload"),
        ({"method": "BREW"}, "method"),
        ({"managed_by": "company"}, "managed_by"),
        ({"id": "agno-company-automation"}, "managed_by"),
    ],
)
def test_what_cannot_be_taken_over_names_its_field(fields: Mapping[str, Any], field: str) -> None:
    with pytest.raises(InvalidField) as refused:
        schedule_of(row(**fields), NOW_MS)
    assert refused.value.field == field


def test_nothing_is_said_where_nothing_changes() -> None:
    assert remarks() == []


@pytest.mark.parametrize(
    ("fields", "field", "words", "differently"),
    [
        ({"next_run_at": NOW - 90}, "next_run_at", "due since 90 s: agno would fire it once", True),
        ({"next_run_at": None}, "next_run_at", "agno has planned no run and would never fire it", True),
        ({"next_run_at": NOW + 60}, "next_run_at", "agno has planned 2026-01-01T00:01:00.000Z", True),
        ({"locked_by": "w1", "locked_at": NOW - 20}, "locked_by", "has been running it for 20 s; let it end", False),
        ({"locked_by": "w1", "locked_at": NOW - 400}, "locked_by", "a copy is started after 300 s", False),
        ({"cron_expr": "", "next_run_at": None}, "cron_expr", "on demand", False),
        ({"payload": {"message": "x", "_agno_authorization": {}}}, "payload", "with the rights of who made it", False),
        ({"endpoint": "/hook"}, "timeout_seconds", "600 s bound a plain request here", False),
        ({"max_retries": 3}, "max_retries", "4xx answer is final", False),
    ],
)
def test_what_changes_is_said(fields: Mapping[str, Any], field: str, words: str, differently: bool) -> None:
    (remark,) = remarks(**fields)
    assert (remark.field, remark.fires_differently) == (field, differently)
    assert words in remark.text


def test_payload_keys_of_agno_stay_behind() -> None:
    given = row(payload={"message": "x", "_agno_authorization": {"context": {}}, "session_id": "s"})
    assert schedule_of(given, NOW_MS).target.payload == {"message": "x", "session_id": "s"}


def test_a_schedule_that_agno_would_refuse_to_run_is_disabled() -> None:
    given = row(managed_by="studio", target_type="agent", target_id="other")
    schedule = schedule_of(given, NOW_MS)
    assert not schedule.enabled
    assert schedule.disabled_reason == "endpoint_drift:/agents/assistant/runs!=agent:other"
    assert [remark.field for remark in remarks_on(given, schedule, NOW_MS, None)] == ["endpoint"]


# history


def history_of(*rows: dict[str, Any], max_retries: int = 2, kept_since: int | None = None) -> Any:
    schedule = schedule_of(row(max_retries=max_retries), NOW_MS)
    return read_history(schedule, rows, now=NOW_MS, kept_since=kept_since)


def test_attempts_of_one_fire_become_one_run() -> None:
    found = history_of(
        attempt("r1", 1, -5000, -4990, "failed", error="boom", status_code=500),
        attempt("r2", 2, -4930, -4900, "success", run_id="ar", session_id="se", output={"content": "done"}),
        attempt("r3", 1, -4000, -3990, "success"),
    )
    first, second = found.runs
    assert (first.status, first.attempt, first.error, first.output) == (RunStatus.SUCCESS, 2, None, {"content": "done"})
    assert (first.fire_at, first.completed_at) == ((NOW - 5000) * SECOND, (NOW - 4900) * SECOND)
    assert (first.agent_run_id, first.session_id, first.cause) == ("ar", "se", Cause.SCHEDULE)
    tries = [(one.number, one.status, one.error, one.status_code) for one in found.attempts if one.run_id == first.id]
    assert tries == [(1, RunStatus.FAILED, "boom", 500), (2, RunStatus.SUCCESS, None, None)]
    assert (second.attempt, second.status) == (1, RunStatus.SUCCESS)


def test_executions_that_overlap_are_kept_apart() -> None:
    """agno starts a run that takes longer than its lock again, as attempt 1, while the first goes on."""
    found = history_of(
        attempt("r1", 1, -5000, -4300, "failed"),
        attempt("r2", 1, -4700, -4500, "failed"),
        attempt("r3", 2, -4440, -4400, "success"),
        attempt("r4", 2, -4240, -4200, "failed"),
        attempt("r5", 3, -4140, -4100, "success"),
    )
    assert [(run.attempt, run.completed_at) for run in found.runs] == [
        (3, (NOW - 4100) * SECOND),
        (2, (NOW - 4400) * SECOND),
    ]


def test_what_follows_a_success_is_another_run() -> None:
    found = history_of(attempt("r1", 1, -5000, -4900, "success"), attempt("r2", 2, -4000, -3900, "success"))
    assert [run.attempt for run in found.runs] == [1, 2]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("running", "never wrote how this ended"),
        ("paused", "waited for a human"),
        ("odd", "left it in the state 'odd'"),
    ],
)
def test_an_end_that_nobody_knows_is_lost(status: str, words: str) -> None:
    found = history_of(attempt("r1", 1, -9000, None if status == "running" else -8000, status), max_retries=0)
    (run,) = found.runs
    assert run.status is RunStatus.LOST
    assert words in (run.error or "")
    assert found.waiting_for_humans == (status == "paused")


def test_what_may_still_go_on_is_left_for_another_import() -> None:
    running = attempt("r1", 1, -100, None, "running")
    retrying = attempt("r2", 1, -100, -90, "failed")
    assert (history_of(running).unfinished, history_of(running).runs) == (1, ())
    assert history_of(retrying).unfinished == 1
    assert history_of(retrying, max_retries=0).runs[0].status is RunStatus.FAILED


def test_old_and_unreadable_rows_are_counted() -> None:
    old = attempt("r1", 1, -9000, -8990, "success")
    bad = attempt("r2", 1, -10, -5, "success", triggered_at=None, created_at=None)
    found = history_of(old, bad, kept_since=NOW_MS - 8000 * SECOND)
    assert (found.too_old, found.unreadable, found.runs) == (1, 1, ())


def test_the_token_that_a_target_echoed_stays_behind() -> None:
    found = history_of(attempt("r1", 1, -9, -8, "failed", error='{"Authorization": "Bearer abc.d-e"}'), max_retries=0)
    assert found.runs[0].error == '{"Authorization": "Bearer ***"}'
    assert found.attempts[0].error == '{"Authorization": "Bearer ***"}'


def test_runs_of_a_schedule_without_timetable_were_triggered() -> None:
    schedule = schedule_of(row(cron_expr=""), NOW_MS)
    (run,) = read_history(schedule, [attempt("r1", 1, -9, -8, "success")], now=NOW_MS, kept_since=None).runs
    assert run.cause is Cause.MANUAL


# the whole


class Source:
    """agno's tables as lists."""

    where = "a list"

    def __init__(self, *schedules: dict[str, Any], runs: tuple[dict[str, Any], ...] = ()) -> None:
        self.rows = list(schedules)
        self.past = list(runs)

    async def schedules(self) -> list[Mapping[str, Any]]:
        return list(self.rows)

    async def runs(self, schedule_id: str) -> list[Mapping[str, Any]]:
        return [past for past in self.past if past["schedule_id"] == schedule_id]

    async def close(self) -> None:
        pass


@pytest.fixture
async def store() -> AsyncIterator[SqliteStore]:
    made = SqliteStore(":memory:", clock=FakeClock())
    await made.open()
    yield made
    await made.close()


async def imported(source: Source, store: SqliteStore | None, *, apply: bool = True, **options: Any) -> ImportReport:
    importer = Importer(source=source, store=store, now=NOW_MS, next_run=agno_next_run(), **options)
    return await importer.run(apply=apply)


async def everything(store: SqliteStore) -> tuple[list[Schedule], int]:
    page = PageRequest(limit=1000)
    schedules = await store.list_schedules(ScheduleFilter(), page)
    return list(schedules.items), (await store.list_runs(RunFilter(), page)).total_count


def fates(report: ImportReport) -> list[Fate]:
    return [item.fate for item in report.schedules]


PAST = (attempt("r1", 1, -5000, -4990, "failed"), attempt("r2", 2, -4930, -4920, "success"))


async def test_a_dry_run_writes_nothing_and_says_the_same(store: SqliteStore) -> None:
    source = Source(row(max_retries=1), runs=PAST)
    dry = await imported(source, store, apply=False)
    assert await everything(store) == ([], 0)
    assert await imported(source, None, apply=False) == dry
    assert replace(dry, applied=True) == await imported(source, store)
    assert dry.new_runs == 1


async def test_schedules_and_history_arrive(store: SqliteStore) -> None:
    await imported(Source(row(max_retries=1), runs=PAST), store)
    (schedule,), runs = await everything(store)
    assert schedule == schedule_of(row(max_retries=1), NOW_MS)
    assert runs == 1
    (run,) = (await store.list_runs(RunFilter(schedule_id="a1"), PageRequest())).items
    assert [one.number for one in await store.attempts(run.id)] == [1, 2]


async def test_a_second_time_nothing_changes(store: SqliteStore) -> None:
    source = Source(row(), row(id="a2", name="other"), runs=PAST)
    await imported(source, store)
    before = await everything(store)
    report = await imported(source, store)
    assert fates(report) == [Fate.EQUAL, Fate.EQUAL]
    assert (report.new_runs, report.schedules[0].history.there) == (0, 1)
    assert await everything(store) == before


async def test_what_ran_meanwhile_comes_along_later(store: SqliteStore) -> None:
    source = Source(row())
    await imported(source, store)
    source.past.append(attempt("r9", 1, -20, -10, "success"))
    report = await imported(source, store)
    assert (fates(report), report.new_runs) == ([Fate.EQUAL], 1)


async def test_what_was_changed_here_is_left_alone(store: SqliteStore) -> None:
    await imported(Source(row()), store)
    await store.change_schedule("a1", lambda schedule, _: replace(schedule, description="mine"))
    report = await imported(Source(row()), store)
    (item,) = report.schedules
    assert (item.fate, item.why) == (
        Fate.CHANGED,
        Remark(field="description", text="differs from agno's and is left as it is"),
    )
    assert report.is_complete
    (schedule,), _ = await everything(store)
    assert schedule.description == "mine"


async def test_a_name_that_is_taken(store: SqliteStore) -> None:
    taken = schedule_of(row(id="ours"), NOW_MS)
    await store.insert_schedules([taken])
    report = await imported(Source(row(), row(id="a3", user_id="mona"), runs=PAST), store)
    assert fates(report) == [Fate.NAME_TAKEN, Fate.NEW]
    assert report.schedules[0].why is not None
    assert report.schedules[0].why.field == "name"
    assert not report.is_complete
    assert (await everything(store))[1] == 0


async def test_a_name_that_somebody_takes_at_the_last_moment(store: SqliteStore) -> None:
    class Late(Source):
        async def schedules(self) -> list[Mapping[str, Any]]:
            await store.insert_schedules([schedule_of(row(id="ours"), NOW_MS)])
            return await super().schedules()

    report = await imported(Late(row()), store)
    assert fates(report) == [Fate.NAME_TAKEN]
    with pytest.raises(NameTaken):
        await store.insert_schedules([schedule_of(row(), NOW_MS)])


async def test_a_schedule_that_was_deleted_here_does_not_come_back(store: SqliteStore) -> None:
    await imported(Source(row()), store)
    await store.delete_schedule("a1")
    report = await imported(Source(row(), runs=PAST), store)
    assert [(item.fate, item.why and item.why.field) for item in report.schedules] == [(Fate.REFUSED, "id")]


async def test_one_that_cannot_be_imported_does_not_stop_the_others(store: SqliteStore) -> None:
    report = await imported(Source(row(name="täglich"), row(id="a2", name="good")), store)
    first, second = report.schedules
    assert isinstance(first, ScheduleReport)
    assert (first.fate, first.why and first.why.field, second.fate) == (Fate.REFUSED, "name", Fate.NEW)
    assert [schedule.name for schedule in (await everything(store))[0]] == ["good"]


async def test_history_can_stay_behind(store: SqliteStore) -> None:
    report = await imported(Source(row(), runs=PAST), store, with_history=False)
    assert (report.new_runs, (await everything(store))[1]) == (0, 0)


async def test_a_history_of_many_batches(store: SqliteStore) -> None:
    past = tuple(attempt(f"r{n}", 1, -100_000 + n * 10, -100_000 + n * 10 + 5, "success") for n in range(1_201))
    assert (await imported(Source(row(), runs=past), store)).new_runs == 1_201
    assert (await everything(store))[1] == 1_201
