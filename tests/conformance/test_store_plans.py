"""The hot queries find their rows by an index, whatever the parameters are."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from tests.conformance.conftest import FILE_AND_SERVER, Backend

from agentclock.core.model import RunStatus
from agentclock.ports import AuditFilter, RunFilter, ScheduleFilter, Store
from agentclock.store.auditing import audit_selection
from agentclock.store.filters import Selection, run_selection, schedule_selection
from agentclock.store.queries import Dialect, Queries
from agentclock.store.sqlite_history import bounded_selection, only_active

HOT: dict[str, set[str]] = {
    "due_schedules": {"schedules_due"},
    "next_due": {"schedules_due"},
    "situations": {"runs_active", "runs_history"},
    "claimable": {"runs_queue"},  # SQLite's name
    "claim_runs": {"runs_queue"},  # PostgreSQL's
    "next_available": {"runs_queue"},
    "orphaned": {"runs_live"},
    "cancel_requests": {"runs_live"},
    "release_waiting": {"runs_waiting", "runs_active"},
    "release_waiting_of": {"runs_active"},
    "release_backfills_of": {"runs_active", "backfills_of"},
    "revisions": {"schedule_revisions_pkey|v USING PRIMARY KEY"},
    "prune_revisions": {"schedule_revisions_later"},
    "absent_across": {"runs_history"},
    "schedules_since": {"schedules_newest|schedules_list", "schedules_changed", "schedules_deleted"},
    "backlog": {"schedules_due", "runs_queue", "runs_active"},
    "paused_due": {"runs_paused"},
    "active_runs": {"runs_active"},
    "newest_runs": {"runs_pkey|autoindex_agentclock_runs"},
    "runs_by_id": {"runs_pkey|autoindex_agentclock_runs"},
    "usage": {"runs_history", "attempts_pkey|a USING PRIMARY KEY"},
    "held_runs": {"autoindex_agentclock_runs"},  # SQLite's name
    "append_events": {"runs_pkey", "run_events_pkey"},  # PostgreSQL's
    "event_cursor": {"run_events_pkey|e USING PRIMARY KEY"},
    "events_after": {"run_events_pkey|e USING PRIMARY KEY"},
    "trigger_key": {"trigger_keys_pkey|k USING PRIMARY KEY"},
    "prune_trigger_keys": {"trigger_keys_old"},
    "late_run": {"runs_late"},
    "newest_audit": {"audit_log_pkey|SCAN l$"},
    "get_owner": {"owners_pkey|o USING PRIMARY KEY"},
    "list_owners": {"owners_pkey|o USING PRIMARY KEY|SCAN o$"},
    "due_notices": {"notices_due"},  # SQLite's name
    "claim_notices": {"notices_due", "notices_pkey"},  # PostgreSQL's
    "next_notice": {"notices_due"},
    "hasten_notices": {"notices_due"},
    "settle_notices": {"notices_pkey|autoindex_agentclock_notices"},
    "retry_notice": {"notices_pkey|autoindex_agentclock_notices|notices_dead"},
    "recovered_runs": {"runs_history"},
    "prune_notices": {"notices_over"},
    "marks_of": {"runs_history"},
    "marks_of_with_usage": {"runs_history", "attempts_pkey|a USING PRIMARY KEY"},
    "marks_held": {"runs_live"},
    "list_runs_of_few": {"runs_history"},
    "active_in_all": {"runs_active"},
    "active_fires": {"runs_active"},
    "active_runs_by_schedule": {"runs_active"},
    "next_to_fire": {"schedules_due"},
    "schedule_names": {"schedules_pkey|autoindex_agentclock_schedules"},
}
NO_SORTING = {
    *("paused_due", "newest_runs", "events_after", "event_cursor", "late_run", "list_owners", "newest_audit"),
    *("due_notices", "next_notice", "marks_held", "next_to_fire"),
}

LISTS = [
    (RunFilter(schedule_id="s1"), "runs_history"),
    (RunFilter(user_id="ann"), "runs_owner"),
    (RunFilter(statuses=(RunStatus.FAILED,)), "runs_unsuccessful"),
    (RunFilter(statuses=(RunStatus.FAILED, RunStatus.TIMEOUT)), "runs_unsuccessful"),
    (RunFilter(statuses=(RunStatus.LOST,), schedule_id="s1"), "runs_unsuccessful_of"),
    (RunFilter(statuses=(RunStatus.RUNNING,)), "runs_active|runs_live"),
    (RunFilter(statuses=(RunStatus.RUNNING, RunStatus.PENDING)), "runs_active"),
]


ENTRIES = [
    (AuditFilter(), "audit_log_pkey|(SCAN|SEARCH) l"),
    (AuditFilter(schedule_id="s1"), "audit_log_of_schedule"),
    (AuditFilter(run_id="r1"), "audit_log_of_run"),
    (AuditFilter(actor="ann"), "audit_log_by_actor"),
    (AuditFilter(user_id="ann"), "audit_log_of_user"),
    (AuditFilter(since=0, until=1), "audit_log_pkey|l USING PRIMARY KEY"),
]


def _words(backend: Backend) -> Callable[[RunFilter], Selection]:
    return bounded_selection if backend.dialect == "sqlite" else run_selection


PLACES: list[tuple[str, Dialect, tuple[pytest.MarkDecorator, ...]]] = [
    ("file", "sqlite", ()),
    ("postgres", "postgres", (pytest.mark.postgres,)),
]
HOT_IN_DIALECT = [
    pytest.param(place, name, marks=marks)
    for place, dialect, marks in PLACES
    for name in HOT
    if name in Queries(dialect).names
]


@pytest.mark.parametrize(("backend", "name"), HOT_IN_DIALECT, indirect=["backend"])
async def test_hot_queries_use_their_indexes(store: Store, backend: Backend, name: str) -> None:
    plan = await backend.explain(name)
    for index in HOT[name]:
        assert re.search(index, plan), plan
    if name in NO_SORTING:
        assert "TEMP B-TREE" not in plan, plan
        assert "Sort" not in plan, plan


RANGE = ("runs_since", "runs_until")
FIRES = ("count_final_runs", "count_absences", "final_runs_by_schedule", "absences_by_schedule", "failures")


@pytest.mark.parametrize("backend", FILE_AND_SERVER, indirect=True)
@pytest.mark.parametrize("name", FIRES)
@pytest.mark.parametrize("narrowed", [RANGE, (*RANGE, "runs_of_user"), (*RANGE, "runs_of_schedules")])
async def test_fires_are_counted_by_state_and_time(
    store: Store, backend: Backend, name: str, narrowed: tuple[str, ...]
) -> None:
    plan = await backend.explain(name, *narrowed, "r.status = 'failed'")
    assert re.search("runs_fires", plan), plan
    if backend.dialect == "sqlite":
        # What stands for one fire each is not even looked at.
        alone = name in ("count_final_runs", "final_runs_by_schedule")
        assert ("USING COVERING INDEX agentclock_runs_fires" in plan) is alone, plan
    elif name == "count_final_runs":
        assert "Index Only Scan using runs_fires" in plan, plan


@pytest.mark.parametrize("backend", FILE_AND_SERVER, indirect=True)
@pytest.mark.parametrize(
    ("conditions", "index"),
    [
        (("cancelled_run",), "runs_pkey|autoindex_agentclock_runs"),
        (("cancelled_of_schedules",), "runs_active"),
        (("cancelled_of_schedules", "cancelled_unless_running"), "runs_active"),
    ],
)
async def test_cancels_find_their_runs_by_an_index(
    store: Store, backend: Backend, conditions: tuple[str, ...], index: str
) -> None:
    plan = await backend.explain("cancel_runs", *conditions)
    assert re.search(index, plan), plan


def test_every_hot_query_exists_somewhere() -> None:
    assert Queries("sqlite").names | Queries("postgres").names >= set(HOT)


@pytest.mark.parametrize("backend", FILE_AND_SERVER, indirect=True)
@pytest.mark.parametrize("query", ["list_runs", "count_runs"])
@pytest.mark.parametrize(("where", "index"), LISTS)
async def test_lists_of_runs_use_their_index(
    store: Store, backend: Backend, query: str, where: RunFilter, index: str
) -> None:
    if backend.dialect == "sqlite" and query == "list_runs" and only_active(where):
        query = "list_active_runs"
    plan = await backend.explain(query, *_words(backend)(where).conditions)
    assert re.search(index, plan), plan


async def test_a_page_of_history_needs_no_sorting(store: Store, backend: Backend) -> None:
    for where, _ in LISTS[:3]:
        plan = await backend.explain("list_runs", *_words(backend)(where).conditions, "runs_after")
        assert "TEMP B-TREE" not in plan, plan
        assert "Sort" not in plan, plan


@pytest.mark.parametrize("backend", FILE_AND_SERVER, indirect=True)
@pytest.mark.parametrize(("where", "index"), ENTRIES)
async def test_pages_of_the_audit_log_use_their_index(
    store: Store, backend: Backend, where: AuditFilter, index: str
) -> None:
    for cursor in ((), ("audit_after",)):
        plan = await backend.explain("list_audit", *audit_selection(where).conditions, *cursor)
        assert re.search(index, plan), plan
        assert "TEMP B-TREE" not in plan, plan
        assert "Sort" not in plan, plan


@pytest.mark.parametrize("backend", ["file"], indirect=True)
async def test_schedules_of_a_name_or_an_owner_are_found_by_an_index(store: Store, backend: Backend) -> None:
    for where, index in (
        (ScheduleFilter(name="a"), "schedules_called"),
        (ScheduleFilter(name="a", user_id="ann"), "schedules_name|schedules_called"),
        (ScheduleFilter(user_id="ann"), "schedules_name"),
    ):
        plan = await backend.explain("count_schedules", *schedule_selection(where).conditions)
        assert re.search(index, plan), plan
    assert "schedules_name" in await backend.explain("count_of_owner")
