"""agno's schedule tools and manager, unchanged, on agentclock's own database: alone, from threads and event loops."""

from __future__ import annotations

import asyncio
import copy
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from agno.db.utils import is_unique_violation
from agno.run import RunContext
from agno.scheduler.manager import ScheduleManager
from agno.tools.scheduler import SchedulerTools

from agentclock.agno.adapter import METHODS, AsyncScheduleDb, ScheduleDb
from agentclock.agno.guard_rails import GuardRails
from agentclock.app import make_store
from agentclock.config import Settings
from agentclock.core.errors import Conflict, GuardRail, InvalidField, NotFound
from agentclock.core.lifecycle import settle
from agentclock.core.model import Outcome, OutcomeKind, RunStatus
from agentclock.core.planning import plan
from agentclock.embed.origin import RunOrigin, originating_in
from agentclock.engine.clock import SystemClock
from agentclock.ports import PageRequest, RunFilter, Store, WorkerInfo

ENDPOINT = "/agents/a1/runs"
HOURLY = "0 * * * *"
ORIGIN = RunOrigin(schedule_id="s1", run_id=str(uuid.uuid4()))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "clock.db")
    dsn: str = request.getfixturevalue("empty_postgres_dsn")
    return dsn


@pytest.fixture
def db(database: str) -> Iterator[ScheduleDb]:
    made = ScheduleDb(database)
    yield made
    made.close()


@pytest.fixture
def async_db(database: str) -> Iterator[AsyncScheduleDb]:
    made = AsyncScheduleDb(database)
    yield made
    made.close()


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    """The database as another process sees it."""
    made, _ = make_store(Settings(database=database), SystemClock())
    await made.open()
    yield made
    await made.close()


def tools(db: Any, **options: Any) -> SchedulerTools:
    return SchedulerTools(db=db, default_endpoint=ENDPOINT, default_payload={"message": "go"}, **options)


def told(answer: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(answer)
    return read


def as_user(user_id: str | None) -> RunContext:
    return RunContext(run_id="run-1", session_id="session-1", user_id=user_id)


def row(**fields: Any) -> dict[str, Any]:
    """As agno's own manager writes one."""
    made = {
        "id": str(uuid.uuid4()),
        "name": f"s-{uuid.uuid4().hex[:6]}",
        "endpoint": ENDPOINT,
        "method": "POST",
        "cron_expr": HOURLY,
        "timezone": "UTC",
        "enabled": True,
        "next_run_at": int(time.time()) + 3600,
        "created_at": int(time.time()),
    }
    return made | fields


def account(schedule_id: str, **fields: Any) -> dict[str, Any]:
    """A row of agno's run history."""
    now = int(time.time())
    made = {"id": str(uuid.uuid4()), "schedule_id": schedule_id, "attempt": 1, "triggered_at": now}
    return made | {"status": "success", "status_code": 200, "created_at": now} | fields


# the tools


def test_the_whole_toolkit_in_a_thread(db: ScheduleDb) -> None:
    kit, ann = tools(db), as_user("ann")
    made = told(kit.create_schedule("daily", "0 9 * * *", run_context=ann))
    assert made["status"] == "created"
    assert told(kit.list_schedules(run_context=ann))["count"] == 1
    assert told(kit.get_schedule(made["id"], run_context=ann))["payload"] == {"message": "go"}
    assert told(kit.disable_schedule(made["id"], run_context=ann))["enabled"] is False
    assert "disabled" in told(kit.trigger_schedule(made["id"], run_context=ann))["error"]
    assert told(kit.enable_schedule(made["id"], run_context=ann))["enabled"] is True
    assert told(kit.get_schedule_runs(made["id"], run_context=ann)) == {"runs": [], "count": 0}
    assert told(kit.delete_schedule(made["id"], run_context=ann))["status"] == "deleted"
    assert told(kit.list_schedules(run_context=ann))["count"] == 0


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_the_whole_toolkit_on_an_event_loop(db: ScheduleDb, async_db: AsyncScheduleDb, kind: str) -> None:
    """The asynchronous tools, and the synchronous ones called on the loop's own thread, on both kinds of database."""
    used: Any = db if kind == "sync" else async_db
    kit = tools(used)
    made = told(await kit.acreate_schedule("daily", "0 9 * * *"))
    assert told(await kit.aget_schedule(made["id"]))["cron"] == "0 9 * * *"
    assert told(kit.create_schedule("daily", "0 10 * * *"))["id"] == made["id"]
    assert told(kit.get_schedule(made["id"]))["cron"] == "0 10 * * *"
    assert told(await kit.adisable_schedule(made["id"]))["enabled"] is False
    assert told(await kit.aenable_schedule(made["id"]))["enabled"] is True
    assert told(await kit.alist_schedules())["count"] == told(kit.list_schedules())["count"] == 1
    assert told(await kit.aget_schedule_runs(made["id"]))["count"] == 0
    assert told(await kit.adelete_schedule(made["id"]))["status"] == "deleted"


def test_owners_do_not_meet(db: ScheduleDb) -> None:
    kit = tools(db)
    bobs = told(kit.create_schedule("daily", "0 9 * * *", run_context=as_user("bob")))
    anns = told(kit.create_schedule("daily", "0 6 * * *", run_context=as_user("ann")))
    nobodys = told(kit.create_schedule("daily", "0 7 * * *", run_context=as_user(None)))
    assert len({bobs["id"], anns["id"], nobodys["id"]}) == 3
    assert [found["id"] for found in told(kit.list_schedules(run_context=as_user("ann")))["schedules"]] == [anns["id"]]
    for refused in (kit.get_schedule, kit.delete_schedule, kit.disable_schedule, kit.trigger_schedule):
        assert "not found" in told(refused(bobs["id"], run_context=as_user("ann")))["error"]
    found = db.get_schedule_by_name("daily", user_id=None)
    assert found is not None
    assert found["id"] == nobodys["id"]
    assert db.get_schedule_by_name("daily", user_id="carol") is None


def test_the_manager_of_the_application_is_bound_by_no_rails(db: ScheduleDb) -> None:
    manager = ScheduleManager(db)
    for number in range(25):
        manager.create(f"minutely {number}", "* * * * *", ENDPOINT)
    assert len(manager.list_all()) == 25
    with pytest.raises(ValueError, match="already exists"):
        manager.create("minutely 1", "* * * * *", ENDPOINT)
    changed = manager.update(manager.list()[0].id, cron_expr="30 * * * *", description="later")
    assert changed is not None
    assert (changed.cron_expr, changed.description) == ("30 * * * *", "later")
    manager.close()


# names, rows, provenance


def test_a_taken_name_or_id_is_what_agno_calls_a_unique_violation(db: ScheduleDb) -> None:
    first = db.create_schedule(row(name="first"))
    second = db.create_schedule(row(name="second"))
    attempts: list[Callable[[], Any]] = [
        partial(db.create_schedule, row(name="first")),
        partial(db.create_schedule, row(id=first["id"])),
        partial(db.update_schedule, second["id"], name="first"),
    ]
    for attempt in attempts:
        with pytest.raises(Exception, match="already exists") as caught:
            attempt()
        assert is_unique_violation(caught.value)
        assert "SQL" not in str(caught.value)
    db.create_schedule(row(name="first", user_id="bob"))


def test_a_row_has_all_that_agnos_has(db: ScheduleDb) -> None:
    from agno.db.schemas.scheduler import Schedule

    made = db.create_schedule(row(id="any text", payload={"message": "hi"}, user_id="ann", created_at=1))
    assert made.keys() == Schedule.from_dict(made).to_dict().keys()
    assert (made["id"], made["user_id"], made["created_at"], made["locked_by"]) == ("any text", "ann", 1, None)
    assert (made["target_type"], made["target_id"]) == ("agent", "a1")
    assert made["next_run_at"] % 3600 == 0, "our timetable's, not the one that came with the row"


def test_on_demand_schedules_are_never_due(db: ScheduleDb) -> None:
    made = db.create_schedule(row(cron_expr=None, next_run_at=None))
    assert (made["cron_expr"], made["next_run_at"]) == (None, None)
    timed = db.update_schedule(made["id"], cron_expr=HOURLY)
    assert timed is not None
    assert timed["next_run_at"] is not None
    cleared = db.update_schedule(made["id"], cron_expr=None)
    assert cleared is not None
    assert (cleared["cron_expr"], cleared["next_run_at"]) == (None, None)


def test_only_a_control_plane_writes_provenance(db: ScheduleDb) -> None:
    made = db.create_schedule(row(created_by_run_id="r1"))
    for column in ("managed_by", "target_id", "created_by_run_id", "locked_by", "user_id_", "next_fire_at"):
        with pytest.raises(ValueError, match="cannot modify"):
            db.update_schedule(made["id"], **{column: "x"})
    with pytest.raises(ValueError, match="cannot write"):
        db.stamp_schedule_provenance(made["id"], enabled=False)
    assert db.stamp_schedule_provenance(made["id"], managed_by="studio", target_type="agent", target_id="a1")
    assert not db.stamp_schedule_provenance("ghost", managed_by="studio")
    stamped = db.get_schedule(made["id"])
    assert stamped is not None
    assert (stamped["managed_by"], stamped["target_id"], stamped["created_by_run_id"]) == ("studio", "a1", "r1")


def test_a_managed_schedule_that_drifts_is_stopped_until_it_is_put_right(db: ScheduleDb) -> None:
    made = db.create_schedule(row(managed_by="studio", target_type="agent", target_id="a1"))
    drifted = db.update_schedule(made["id"], endpoint="/agents/other/runs")
    assert drifted is not None
    assert (drifted["enabled"], drifted["next_run_at"]) == (False, None)
    assert drifted["disabled_reason"] == "endpoint_drift:/agents/other/runs!=agent:a1"
    kit = tools(db)
    assert told(kit.enable_schedule(made["id"]))["error_type"] == "endpoint_drift"
    db.update_schedule(made["id"], endpoint=ENDPOINT)
    assert told(kit.enable_schedule(made["id"]))["enabled"] is True
    mended = db.get_schedule(made["id"])
    assert mended is not None
    assert mended["disabled_reason"] is None


def test_an_endpoint_that_may_move_takes_its_target_along(db: ScheduleDb) -> None:
    made = db.create_schedule(row(target_type="agent", target_id="a1"))
    moved = db.update_schedule(made["id"], endpoint="/teams/t/runs", target_type="team", target_id="t")
    assert moved is not None
    assert (moved["target_type"], moved["target_id"], moved["enabled"]) == ("team", "t", True)


def test_what_loses_its_target_is_disabled_for_every_owner(db: ScheduleDb) -> None:
    aimed = [
        db.create_schedule(row(user_id="ann"))["id"],
        db.create_schedule(row(user_id="bob", endpoint="/agents/a1/runs/"))["id"],
        db.create_schedule(row(endpoint="/elsewhere", target_type="agent", target_id="a1"))["id"],
    ]
    spared = [db.create_schedule(row(endpoint=endpoint))["id"] for endpoint in ("/agents/a2/runs", "/teams/a1/runs")]
    assert db.disable_schedules_for_target("agent", "a1", reason="target_archived:agent:a1") == 3
    assert db.disable_schedules_for_target("agent", "a1") == 0
    for schedule_id in (*aimed, *spared):
        found = db.get_schedule(schedule_id)
        assert found is not None
        assert found["enabled"] is (schedule_id in spared)
        assert found["disabled_reason"] == (None if schedule_id in spared else "target_archived:agent:a1")


def test_wrong_input_is_an_answer_that_helps(db: ScheduleDb) -> None:
    answer = told(tools(db).create_schedule("daily", "0 9 * * *", endpoint="https://elsewhere.example/runs?x"))
    assert "Must be a path" in answer["error"]
    with pytest.raises(InvalidField, match="timezone"):
        db.create_schedule(row(timezone="Europe/Belrin"))
    assert db.update_schedule("nobody's", description="x") is None


# guard rails


def test_an_agent_reads_why_it_may_not_schedule_so_often(db: ScheduleDb) -> None:
    kit = tools(db)
    refused = told(kit.create_schedule("often", "* * * * *"))["error"]
    assert "60 s apart" in refused
    assert "300 s" in refused
    made = told(kit.create_schedule("rarely", HOURLY))
    assert "60 s apart" in told(kit.create_schedule("rarely", "* * * * *"))["error"], "nor by changing it"
    ScheduleManager(db).update(made["id"], cron_expr="* * * * *")
    kit.disable_schedule(made["id"])
    assert "60 s apart" in told(kit.enable_schedule(made["id"]))["error"], "nor by enabling what a person made"


def test_an_agent_makes_so_many_schedules_and_no_more(database: str) -> None:
    db = ScheduleDb(database, rails=GuardRails(max_schedules=2))
    kit, ann = tools(db), as_user("ann")
    ScheduleManager(db).create("by a person", HOURLY, ENDPOINT, user_id="ann")
    first = told(kit.create_schedule("1", HOURLY, run_context=ann))
    kit.create_schedule("2", HOURLY, run_context=ann)
    refused = told(kit.create_schedule("3", HOURLY, run_context=ann))["error"]
    assert "2 are allowed" in refused
    assert "max_schedules" in refused
    assert "error" not in told(kit.create_schedule("3", HOURLY, run_context=as_user("bob")))
    assert told(kit.create_schedule("2", "30 * * * *", run_context=ann))["status"] == "created", "that is a change"
    kit.delete_schedule(first["id"], run_context=ann)
    assert "error" not in told(kit.create_schedule("3", HOURLY, run_context=ann))
    db.close()


def test_twenty_threads_make_as_many_schedules_as_are_allowed(database: str) -> None:
    db = ScheduleDb(database, rails=GuardRails(max_schedules=7))
    kit = tools(db)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda number: told(kit.create_schedule(f"s{number}", HOURLY)), range(20)))
    assert sum("error" not in answer for answer in answers) == 7
    assert told(kit.list_schedules())["count"] == 7
    db.close()


def test_a_scheduled_run_may_stop_schedules_and_no_more(db: ScheduleDb) -> None:
    kit = tools(db)
    made = told(kit.create_schedule("mine", HOURLY))
    with originating_in(ORIGIN):
        assert told(kit.list_schedules())["count"] == 1
        for refused in (
            kit.create_schedule("nested", HOURLY),
            kit.create_schedule("mine", "30 * * * *"),
            kit.trigger_schedule(made["id"]),
            kit.enable_schedule(made["id"]),
        ):
            assert "allow_nested" in told(refused)["error"]
        with pytest.raises(GuardRail):
            db.update_schedule(made["id"], payload={"message": "other"})
        assert told(kit.disable_schedule(made["id"]))["enabled"] is False
        assert told(kit.delete_schedule(made["id"]))["status"] == "deleted"


async def test_where_a_nested_schedule_comes_from_is_on_record(database: str, store: Store) -> None:
    db = ScheduleDb(database, rails=GuardRails(allow_nested=True))
    with originating_in(ORIGIN):
        made = told(await tools(db).acreate_schedule("nested", HOURLY))
    by_hand = ScheduleManager(db).create("by hand", HOURLY, ENDPOINT)
    nested, own = await store.get_schedule(made["id"]), await store.get_schedule(by_hand.id)
    assert nested is not None
    assert own is not None
    assert nested.provenance == {"via": "tools", "schedule_id": ORIGIN.schedule_id, "run_id": ORIGIN.run_id}
    assert own.provenance is None
    tools(db).disable_schedule(by_hand.id)
    changed = await store.get_schedule(by_hand.id)
    assert changed is not None
    assert changed.provenance == {"changed": {"via": "tools"}}
    await asyncio.to_thread(db.close)


async def test_revisions_name_whoever_was_behind_a_change(database: str, store: Store) -> None:
    db = ScheduleDb(database, rails=GuardRails(allow_nested=True))
    own = ScheduleManager(db).create("own", HOURLY, ENDPOINT)
    db.update_schedule(own.id, user_id=None, description="by the application")
    tools(db).disable_schedule(own.id)
    with originating_in(RunOrigin(schedule_id=own.id, run_id=ORIGIN.run_id)):
        tools(db).enable_schedule(own.id)
        db.delete_schedule(own.id)
    told = [(revision.kind.value, revision.by) for revision in await store.revisions(own.id)]
    component = own.endpoint.split("/")[2]
    inside = f"agent {component} in run {ORIGIN.run_id}"
    assert told == [
        ("deleted", inside),
        ("changed", inside),
        ("changed", "agent"),
        ("changed", "agno"),
        ("created", "agno"),
    ]
    await asyncio.to_thread(db.close)


async def test_the_author_is_known_however_agno_gets_to_the_database(async_db: AsyncScheduleDb) -> None:
    """Synchronous tools on an asynchronous database: agno runs the coroutine in a thread without the context."""
    kit = tools(async_db)
    with originating_in(ORIGIN):
        assert "allow_nested" in told(kit.create_schedule("nested", HOURLY))["error"]
        assert "allow_nested" in told(await kit.acreate_schedule("nested", HOURLY))["error"]
    assert "60 s apart" in told(kit.create_schedule("often", "* * * * *"))["error"]


# triggers


async def test_a_trigger_is_a_manual_run_while_an_engine_works_on_the_database(db: ScheduleDb, store: Store) -> None:
    engine = WorkerInfo(id=str(uuid.uuid4()), name="engine", app_version="1")
    await store.acquire_engine(engine, 60)
    kit = tools(db)
    made = told(kit.create_schedule("mine", HOURLY))
    before = db.get_schedule(made["id"])
    assert told(await kit.atrigger_schedule(made["id"]))["status"] == "triggered"
    runs = await store.list_runs(RunFilter(schedule_id=made["id"]), PageRequest())
    assert [(run.cause, run.status) for run in runs.items] == [("manual", "pending")]
    after = db.get_schedule(made["id"])
    assert before is not None
    assert after is not None
    assert after["next_run_at"] == before["next_run_at"], "the timetable goes on as before"
    assert "previous run was still active" in told(kit.trigger_schedule(made["id"]))["error"]
    listed = told(kit.get_schedule_runs(made["id"]))["runs"]
    assert [run["status"] for run in listed] == ["skipped", "pending"]


async def test_without_an_engine_a_trigger_is_due_for_the_next_one(db: ScheduleDb, store: Store) -> None:
    kit = tools(db)
    made = told(kit.create_schedule("mine", HOURLY))
    kit.trigger_schedule(made["id"])
    kit.trigger_schedule(made["id"])
    engine = WorkerInfo(id=str(uuid.uuid4()), name="engine", app_version="1")
    await store.acquire_engine(engine, 60)
    fired = await store.fire_due(plan, limit=10, worker_id=engine.id, slots=10)
    assert len(fired.claims) == 1
    assert (await store.fire_due(plan, limit=10)).planned == 0
    schedule = await store.get_schedule(made["id"])
    assert schedule is not None
    assert schedule.next_fire_at is not None
    assert schedule.next_fire_at % 3_600_000 == 0
    counted = await store.accounting(made["id"], schedule.timetable_since, schedule.next_fire_at - 1)
    assert counted.total == 0, "what is not in the timetable is not counted against it"


# pollers of others


async def test_what_a_foreign_poller_claims_fires_once(db: ScheduleDb, store: Store) -> None:
    made = db.create_schedule(row(next_run_at=int(time.time()) - 10))
    claimed = db.claim_due_schedule("poller-1")
    assert claimed is not None
    assert (claimed["id"], claimed["locked_by"]) == (made["id"], "poller-1")
    assert db.claim_due_schedule("poller-2") is None
    assert (await store.fire_due(plan, limit=10)).planned == 0
    told_of = db.create_schedule_run(account(made["id"], status="running"))
    db.update_schedule_run(told_of["id"], status="failed", error="it broke", completed_at=int(time.time()))
    assert not db.release_schedule(made["id"], made["next_run_at"], worker_id="poller-2")
    assert db.release_schedule(made["id"], int(time.time()) + 60, worker_id="poller-1", locked_at=claimed["locked_at"])
    runs = await store.list_runs(RunFilter(schedule_id=made["id"]), PageRequest())
    assert [(run.status, run.error) for run in runs.items] == [("failed", "it broke")]
    rows, total = db.get_schedule_runs(made["id"])
    assert (total, rows[0]["status"]) == (1, "failed")
    found = db.get_schedule_run(told_of["id"])
    assert found is not None
    assert (found["id"], found["status"]) == (told_of["id"], "failed")
    after = db.get_schedule(made["id"])
    assert after is not None
    assert after["locked_by"] is None


def test_what_a_poller_gives_back_may_be_claimed_again(db: ScheduleDb) -> None:
    made = db.create_schedule(row(next_run_at=int(time.time()) - 1))
    assert db.claim_due_schedule("poller-1") is not None
    assert db.release_schedule(made["id"])
    again = db.claim_due_schedule("poller-2")
    assert again is not None
    assert again["locked_by"] == "poller-2"
    assert db.get_schedule_runs(made["id"])[1] == 1


async def test_what_a_poller_never_releases_is_lost_and_not_forgotten(database: str, store: Store) -> None:
    db = ScheduleDb(database)
    made = db.create_schedule(row(next_run_at=int(time.time()) - 1))
    assert db.claim_due_schedule("poller-1") is not None
    await asyncio.to_thread(db.close)  # its lease ends with it
    orphans = await store.orphans(10)
    assert [orphan.schedule.id for orphan in orphans] == [made["id"]]
    lost = settle(orphans[0], Outcome(kind=OutcomeKind.LOST), await store.now())
    assert await store.settle([lost])
    assert lost.status is RunStatus.LOST


async def test_beside_an_engine_there_is_nothing_to_claim(db: ScheduleDb, store: Store) -> None:
    db.create_schedule(row(next_run_at=int(time.time()) - 10))
    engine = WorkerInfo(id=str(uuid.uuid4()), name="engine", app_version="1")
    await store.acquire_engine(engine, 60)
    assert db.claim_due_schedule("poller-1") is None
    assert len((await store.fire_due(plan, limit=10, worker_id=engine.id, slots=10)).claims) == 1


def test_nothing_is_claimed_that_is_not_due_or_locked_by_others(db: ScheduleDb) -> None:
    now = int(time.time())
    db.create_schedule(row())
    db.create_schedule(row(next_run_at=now - 10, enabled=False))
    db.create_schedule(row(next_run_at=now - 10, locked_by="other", locked_at=now))
    assert db.claim_due_schedule("poller-1") is None
    stale = db.create_schedule(row(next_run_at=now - 10, locked_by="other", locked_at=now - 600))
    claimed = db.claim_due_schedule("poller-1")
    assert claimed is not None
    assert claimed["id"] == stale["id"]


# histories of others


def test_what_others_tell_of_runs_is_kept_beside_our_own(db: ScheduleDb) -> None:
    made = db.create_schedule(row(user_id="ann"))
    accounts = [account(made["id"], created_at=100 + n, completed_at=100 + n, user_id="ann") for n in range(5)]
    for one in accounts:
        db.create_schedule_run(one)
    changed = db.update_schedule_run(accounts[0]["id"], output={"content": "x"}, completed_at=50)
    assert changed is not None
    assert changed["output"] == {"content": "x"}
    rows, total = db.get_schedule_runs(made["id"], limit=2, page=2)
    assert ([found["id"] for found in rows], total) == ([accounts[2]["id"], accounts[1]["id"]], 5)
    assert db.get_schedule_run(accounts[1]["id"], user_id="bob") is None
    assert db.get_latest_schedule_runs([made["id"], "nobody's"]) == {made["id"]: rows[0] | accounts[4]}
    assert db.delete_schedule_runs(made["id"], before=102) == 2
    assert db.get_schedule_runs(made["id"])[1] == 3
    assert db.delete_schedule(made["id"])
    assert db.get_schedule_runs(made["id"]) == ([], 0)
    assert db.get_schedule_run(accounts[4]["id"]) is None


def test_there_are_no_runs_of_schedules_that_do_not_exist(db: ScheduleDb) -> None:
    with pytest.raises(NotFound):
        db.create_schedule_run(account("nobody's"))
    assert db.update_schedule_run("no run", status="success") is None
    assert db.get_schedule_run("no run") is None


# as an object


def test_agno_sees_which_kind_of_database_it_has(db: ScheduleDb, async_db: AsyncScheduleDb) -> None:
    for name in METHODS:
        assert not asyncio.iscoroutinefunction(getattr(db, name))
        assert asyncio.iscoroutinefunction(getattr(async_db, name))


def test_a_copied_toolkit_goes_on_with_the_same_database(db: ScheduleDb) -> None:
    kit = copy.deepcopy(tools(db))
    assert kit.manager.db is db


def test_a_closed_database_opens_itself_again(db: ScheduleDb) -> None:
    made = db.create_schedule(row())
    db.close()
    found = db.get_schedule(made["id"])
    assert found is not None
    assert found["name"] == made["name"]


def test_conflicts_that_are_not_about_names_stay_what_they_are(db: ScheduleDb) -> None:
    with pytest.raises(Conflict) as caught, originating_in(ORIGIN):
        db.create_schedule(row())
    assert not is_unique_violation(caught.value)
