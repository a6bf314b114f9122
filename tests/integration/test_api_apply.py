"""POST /schedules/apply: what it answers, whom it asks, and what it makes of nonsense."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import Request
from tests.apis import World, app_of, client_of, world

from agentclock.api import Caller, Permission
from agentclock.core.errors import Forbidden
from agentclock.core.model import Target
from agentclock.declaring.checking import MOST_TOLD
from agentclock.declaring.model import MOST_SCHEDULES
from agentclock.ports import PageRequest, ScheduleFilter

ONE = {"name": "one", "endpoint": "/agents/a/runs", "cron_expr": "30 2 * * *", "timezone": "Europe/Berlin"}


class ListGuard:
    """Allows what is on its list, and no calls of /agents/secret/runs."""

    def __init__(self, *allowed: Permission) -> None:
        self.allowed = allowed

    async def admit(self, request: Request, permission: Permission) -> Caller:
        if permission not in self.allowed:
            raise Forbidden(f"Insufficient permissions. Required scope(s): {permission.value}")
        return Caller(user_id="ann", owner="ann", name="ann")

    async def may_call(self, request: Request, target: Target) -> None:
        if "secret" in target.endpoint:
            raise Forbidden("not that one")


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        yield made


@pytest.fixture
async def client(here: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app_of(here)) as made:
        yield made


def declared(*schedules: Any, **more: Any) -> dict[str, Any]:
    return {"manager": "team-a", "schedules": list(schedules)} | more


async def applied(client: httpx2.AsyncClient, *schedules: Any, **more: Any) -> Any:
    answer = await client.post("/schedules/apply", json=declared(*schedules, **more))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_others_have_a_turn_while_changes_are_told_of(here: World, client: httpx2.AsyncClient) -> None:
    turns: list[int] = []

    def listen(event: object) -> None:
        if not turns:
            turns.append(0)
            asyncio.get_running_loop().call_soon(lambda: turns.append(len(here.events)))

    here.bus.subscribe(listen)
    await applied(client, *({"name": f"n{number}", "endpoint": "/hook"} for number in range(250)))
    assert len(here.events) == 250
    assert turns[1] < 250


async def test_it_tells_what_becomes_of_each(client: httpx2.AsyncClient) -> None:
    planned = await applied(client, ONE, dry_run=True)
    (row,) = planned["plan"]
    assert {name: planned[name] for name in planned if name != "plan"} == {
        "manager": "team-a", "dry_run": True, "created": 1, "changed": 0, "unchanged": 0, "deleted": 0,
        "undeclared": [],
    }  # fmt: skip
    assert row == {
        "name": "one",
        "id": None,
        "action": "create",
        "changes": {
            "endpoint": {"from": None, "to": "/agents/a/runs"},
            "cron_expr": {"from": None, "to": "30 2 * * *"},
            "timezone": {"from": None, "to": "Europe/Berlin"},
        },
        "explanation": {"from": None, "to": "At 02:30, every day, Europe/Berlin"},
        "warnings": row["warnings"],
    }
    assert "does not exist on 2026-03-29" in row["warnings"][0]
    assert (await client.get("/schedules")).json()["data"] == []

    made = (await applied(client, ONE))["plan"][0]["id"]
    shown = (await client.get(f"/schedules/{made}")).json()
    assert (shown["name"], shown["managed_by"], shown["version"]) == ("one", "apply:team-a", 1)
    changed = await applied(client, ONE | {"cron_expr": "0 4 * * *", "run_at": None, "payload": {"a": [1]}})
    assert changed["plan"] == [
        {
            "name": "one",
            "id": made,
            "action": "change",
            "changes": {
                "payload": {"from": None, "to": {"a": [1]}},
                "cron_expr": {"from": "30 2 * * *", "to": "0 4 * * *"},
            },
            "explanation": {
                "from": "At 02:30, every day, Europe/Berlin",
                "to": "At 04:00, every day, Europe/Berlin",
            },
            "warnings": [],
        }
    ]
    unchanged = await applied(client, dry_run=True)
    assert (unchanged["plan"], unchanged["undeclared"]) == ([], ["one"])
    gone = await applied(client, prune=True)
    assert gone["plan"] == [
        {"name": "one", "id": made, "action": "delete", "changes": {}, "explanation": None, "warnings": []}
    ]
    assert (await client.get(f"/schedules/{made}")).status_code == 404


async def test_faults_name_their_place_in_the_list(client: httpx2.AsyncClient) -> None:
    wrong = {"name": "two", "endpoint": "x", "cron_expr": "0 3 31 2 *", "crn": 1, "tags": ["a", 5], "managed_by": "me"}
    answer = await client.post("/schedules/apply", json=declared(ONE, wrong, ONE))
    assert answer.status_code == 422
    assert {tuple(fault["loc"]) for fault in answer.json()["detail"]} == {
        ("body", "schedules", 1, "endpoint"),
        ("body", "schedules", 1, "cron_expr"),
        ("body", "schedules", 1, "crn"),
        ("body", "schedules", 1, "tags", 1),
        ("body", "schedules", 1, "managed_by"),
        ("body", "schedules", 2, "name"),
    }
    cron = next(fault for fault in answer.json()["detail"] if fault["loc"][-1] == "cron_expr")
    assert cron["ctx"]["position"] == 4
    unknown = await client.post("/schedules/apply", json=declared(ONE, ONE | {"name": "two", "target": "nope"}))
    assert unknown.json()["detail"][0]["loc"] == ["body", "schedules", 1, "target"]
    misspelt = await client.post("/schedules/apply", json=declared(purge=True))
    assert misspelt.json()["detail"][0]["msg"] == "unknown field 'purge': did you mean 'prune'?"


async def test_what_others_manage_is_a_conflict(here: World, client: httpx2.AsyncClient) -> None:
    await here.create(name="one")
    answer = await client.post("/schedules/apply", json=declared(ONE))
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        "Not managed by you: 'one' (nobody). Take them over with adopt (--adopt), or choose other names",
    )
    (row,) = (await applied(client, ONE, adopt=True))["plan"]
    assert row["changes"]["managed_by"] == {"from": None, "to": "apply:team-a"}


#: Bodies that no request has.
NONSENSE: list[Any] = [
    None, [], 5, "x", {}, {"manager": "a"}, {"manager": "a", "schedules": None}, {"manager": "a", "schedules": {}},
    {"manager": "", "schedules": []}, {"manager": "a b", "schedules": []}, {"manager": "a\n", "schedules": []},
    declared(None), declared([]), declared({}), declared({"name": None}), declared({"": 1}),
    declared({"\ud800": 1}),
    declared(ONE | {"name": "\ud800"}), declared(ONE | {"payload": {"a": "\0"}}), declared(ONE | {"enabled": 1}),
    declared({f"f{number}": 1 for number in range(300)}), declared(*[{}] * 300), declared(ONE, prune="maybe"),
    declared(ONE | {"run_at": "9999-12-31T23:59:59Z", "cron_expr": None}),
    declared(ONE | {"start_at": "0001-01-01"}),
    declared(*[0] * (MOST_SCHEDULES + 1)), declared(ONE | {"interval_seconds": 10**30, "cron_expr": None}),
]  # fmt: skip


async def test_nonsense_is_refused_as_such(here: World, client: httpx2.AsyncClient) -> None:
    for body in NONSENSE:
        content, kind = json.dumps(body).encode(), {"content-type": "application/json"}
        answer = await client.post("/schedules/apply", content=content, headers=kind)
        assert answer.status_code == 422, body
        detail = answer.json()["detail"]
        assert 0 < len(detail) <= MOST_TOLD
        assert all(fault["loc"] and fault["msg"] for fault in detail)
    assert not (await here.store.list_schedules(ScheduleFilter(), PageRequest())).items


async def test_prune_asks_for_one_more_permission(here: World) -> None:
    guard = ListGuard()
    async with client_of(app_of(here, guard=guard)) as client:
        for allowed, options, status in [
            ((Permission.READ, Permission.DELETE), {}, 403),
            ((Permission.WRITE,), {}, 200),
            ((Permission.WRITE,), {"prune": True}, 403),
            ((Permission.WRITE,), {"prune": True, "dry_run": True}, 403),
            ((Permission.WRITE, Permission.DELETE), {"prune": True}, 200),
        ]:
            guard.allowed = allowed
            answer = await client.post("/schedules/apply", json=declared(ONE, **options))
            assert answer.status_code == status, (allowed, options)
            secret = declared(ONE, ONE | {"name": "two", "endpoint": "/agents/secret/runs"}, **options)
            assert (await client.post("/schedules/apply", json=secret)).status_code == 403
    (row,) = (await here.store.list_schedules(ScheduleFilter(), PageRequest())).items
    assert (row.name, row.user_id, row.version) == ("one", "ann", 1)
    (entry,) = (await here.scheduler.audit.entries()).items
    assert (entry.actor, entry.action) == ("ann", "schedule.created")


async def test_others_schedules_are_out_of_reach(here: World) -> None:
    await here.create(name="one", description="nobody's")
    async with client_of(app_of(here, guard=ListGuard(Permission.WRITE, Permission.DELETE))) as client:
        assert (await applied(client, ONE, adopt=True))["created"] == 1
        assert (await applied(client, prune=True))["deleted"] == 1
        forged = await client.post("/schedules/apply", json=declared(ONE | {"payload": {"user_id": "bob"}}))
        assert forged.status_code == 403
        assert "schedules[0] (one)" in forged.json()["detail"]
    (row,) = (await here.store.list_schedules(ScheduleFilter(), PageRequest())).items
    assert (row.description, row.user_id) == ("nobody's", None)
