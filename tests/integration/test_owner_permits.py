"""Whom a schedule is run for, and for whom not any more: on a server with tokens, from the first request to the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import httpx2
import jwt
import pytest
from tests.asgi_life import living

from agentclock.app import Clockwork, assemble, create_app
from agentclock.config import Settings
from agentclock.core.audit import Action
from agentclock.core.model import SECOND, Run, RunStatus
from agentclock.ports import AuditFilter, NoticeFilter, PageRequest, RunFilter
from agentclock.testing import Behaviour, FakeAgentOS, FakeClock

SECRET = "a secret of 256 bits or more, as HS256 wants it"
ISSUER, AUDIENCE = "https://issuer.test", "agentclock"
RUN_SCOPE = "agents:greeter:run"
MAY_ALL: Final = ("schedules:read", "schedules:write", "schedules:delete", RUN_SCOPE)
DRAFT: Final = {"name": "nightly", "endpoint": "/agents/greeter/runs", "cron_expr": "* * * * *"}
ON_DEMAND: Final = {"name": "by hand", "endpoint": "/agents/greeter/runs"}
HOOK: Final = {"url": "http://127.0.0.1:9/hook", "secret": "whsec_" + "c2VjcmV0" * 8}


@dataclass(slots=True)
class Scene:
    clockwork: Clockwork
    client: httpx2.AsyncClient
    clock: FakeClock
    agentos: FakeAgentOS

    def token(self, subject: str, *scopes: str, age_seconds: int = 0) -> dict[str, str]:
        now = self.clock.now() // SECOND
        claims = {"iss": ISSUER, "aud": AUDIENCE, "iat": now - age_seconds, "exp": now + 3_600}
        text = jwt.encode(claims | {"sub": subject, "scopes": [*scopes]}, SECRET, "HS256")
        return {"Authorization": f"Bearer {text}"}

    @property
    def ada(self) -> dict[str, str]:
        return self.token("ada", *MAY_ALL)

    @property
    def root(self) -> dict[str, str]:
        return self.token("root", "agent_os:admin")

    async def post(self, path: str, headers: dict[str, str], body: Any = None, *, status: int = 200) -> Any:
        answer = await self.client.post(path, headers=headers, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def shown(self, schedule_id: str) -> dict[str, Any]:
        answer = await self.client.get(f"/schedules/{schedule_id}", headers=self.root)
        found: dict[str, Any] = answer.json()
        return found

    async def next_run(self, schedule_id: str) -> Run:
        """The run of the next minute, at its end or its pause."""
        known = {run.id for run in await self._runs(schedule_id)}
        self.clock.advance(60)
        while not (new := [run for run in await self._runs(schedule_id) if run.id not in known]):
            self.clockwork.engine.ring()  # whoever was about to lie down when the time passed sees it now
            await self.clockwork.store.now()
        return await self.settled(new[0].id)

    async def settled(self, run_id: str) -> Run:
        with self.clockwork.bus.watch(run_id) as changed:
            while True:
                run = await self.clockwork.store.get_run(run_id)
                assert run is not None
                if run.status.is_final or run.status is RunStatus.PAUSED:
                    return run
                await changed.wait()
                changed.clear()

    async def _runs(self, schedule_id: str) -> tuple[Run, ...]:
        return (await self.clockwork.store.list_runs(RunFilter(schedule_id=schedule_id), PageRequest())).items


@asynccontextmanager
async def scene(**settings: Any) -> AsyncIterator[Scene]:
    clock = FakeClock()
    async with FakeAgentOS() as agentos:
        configured = Settings(
            database=":memory:",
            lease_seconds=600,  # the clock here takes a minute at once
            targets={
                "default": {"base_url": agentos.base_url},
                "hooks": {"base_url": agentos.base_url, "kind": "http"},
            },
            jwt_secret=SECRET,
            jwt_issuer=ISSUER,
            jwt_audience=AUDIENCE,
            webhooks={"desk": HOOK},
            **settings,
        )
        clockwork = assemble(configured, clock=clock)
        async with living(create_app(clockwork)) as client:
            yield Scene(clockwork, client, clock, agentos)


async def test_the_run_of_a_revoked_owner_fails_and_its_schedule_stops() -> None:
    async with scene() as here:
        made = await here.post("/schedules", here.ada, DRAFT, status=201)
        assert (await here.next_run(made["id"])).status is RunStatus.SUCCESS
        calls = len(here.agentos.calls)

        revoked = await here.post("/owners/ada/revoke", here.root)
        assert (revoked["revoked_by"], revoked["scopes"]) == ("root", sorted(MAY_ALL))
        refused = await here.next_run(made["id"])
        assert refused.status is RunStatus.FAILED
        assert "'ada' was revoked by root" in (refused.error or "")
        assert len(here.agentos.calls) == calls
        stopped = await here.shown(made["id"])
        assert (stopped["enabled"], stopped["disabled_reason"]) == (False, refused.error)

        await _accounts_are_told(here, made["id"], refused)
        await _whoever_is_revoked_gets_nothing_more(here, made["id"])

        await here.post("/owners/ada/restore", here.root)
        await here.post(f"/schedules/{made['id']}/enable", here.ada)
        assert (await here.next_run(made["id"])).status is RunStatus.SUCCESS


async def _accounts_are_told(here: Scene, schedule_id: str, refused: Run) -> None:
    accounts = (await here.client.get(f"/schedules/{schedule_id}/accounting", headers=here.root)).json()
    assert accounts["balanced"]
    assert accounts["due"] == accounts["runs"] == 2
    entries = (await here.clockwork.store.audit(AuditFilter(), PageRequest())).items
    told = {entry.action: entry for entry in entries}
    assert (told[Action.OWNER_REVOKED].actor, told[Action.OWNER_REVOKED].user_id) == ("root", "ada")
    assert told[Action.DISABLED].schedule_id == schedule_id
    notices = (await here.clockwork.store.notices(NoticeFilter(schedule_id=schedule_id), PageRequest())).items
    assert {row.notice.kind.value for row in notices} == {"run.failed", "schedule.disabled"}
    assert refused.error in str([row.notice.data for row in notices])


async def _whoever_is_revoked_gets_nothing_more(here: Scene, schedule_id: str) -> None:
    """Enabling it again is no way around it, nor is another trigger, or a token that was issued after."""
    calls = len(here.agentos.calls)
    await here.post(f"/schedules/{schedule_id}/enable", here.token("ada", *MAY_ALL, "agent_os:admin"))
    run = await here.post(f"/schedules/{schedule_id}/trigger?wait=60", here.root)
    assert run["status"] == "failed"
    assert (await here.shown(schedule_id))["enabled"] is False
    assert len(here.agentos.calls) == calls


async def test_what_the_newest_token_lacks_no_older_one_brings_back() -> None:
    async with scene() as here:
        made = await here.post("/schedules", here.ada, DRAFT, status=201)
        wide = here.ada
        here.clock.advance(10)
        await here.client.get("/schedules", headers=here.token("ada", "schedules:read", "schedules:write"))
        await here.client.get("/schedules", headers=wide)
        refused = await here.next_run(made["id"])
        assert refused.status is RunStatus.FAILED
        assert f"lacks the scope {RUN_SCOPE}" in (refused.error or "")
        assert here.agentos.calls == []
        # The old token may still do what it says, but a schedule that it enables will not run either.
        await here.post(f"/schedules/{made['id']}/enable", wide)
        assert (await here.next_run(made["id"])).status is RunStatus.FAILED
        await here.client.get("/schedules", headers=here.ada)
        await here.post(f"/schedules/{made['id']}/enable", here.ada)
        assert (await here.next_run(made["id"])).status is RunStatus.SUCCESS


async def test_a_token_that_only_reads_says_nothing_of_what_may_be_called() -> None:
    async with scene() as here:
        made = await here.post("/schedules", here.ada, DRAFT, status=201)
        here.clock.advance(10)
        await here.client.get("/schedules", headers=here.token("ada", "schedules:read"))
        assert (await here.next_run(made["id"])).status is RunStatus.SUCCESS


async def test_who_was_never_seen_has_nothing_called_and_nobody_has_no_need_of_it() -> None:
    async with scene() as here:
        zoes = await here.clockwork.scheduler.create(DRAFT, user_id="zoe")
        nobodys = await here.clockwork.scheduler.create(DRAFT)
        assert (await here.next_run(nobodys.id)).status is RunStatus.SUCCESS
        runs = (await here.clockwork.store.list_runs(RunFilter(schedule_id=zoes.id), PageRequest())).items
        refused = await here.settled(runs[0].id)
        assert refused.status is RunStatus.FAILED
        assert "no token of theirs that may write" in (refused.error or "")


async def test_a_revoked_owners_paused_run_is_not_continued() -> None:
    async with scene() as here:
        here.agentos.behave("greeter", Behaviour.PAUSE)
        made = await here.post("/schedules", here.ada, ON_DEMAND, status=201)
        paused = await here.post(f"/schedules/{made['id']}/trigger?wait=60", here.ada)
        assert paused["status"] == "paused"
        await here.post("/owners/ada/revoke", here.root)
        answer = f"/schedules/{made['id']}/runs/{paused['id']}/continue?wait=60"
        done = await here.post(answer, here.root, {"action": "approve"})
        assert done["status"] == "failed"
        assert "was revoked" in done["error"]
        assert (await here.shown(made["id"]))["enabled"] is False
        paths = [call.path for call in here.agentos.calls]
        assert any(path.endswith("/cancel") for path in paths)
        assert not any(path.endswith("/continue") for path in paths)


async def test_what_runs_when_its_owner_is_revoked_runs_to_its_end() -> None:
    async with scene() as here:
        here.agentos.behave("greeter", Behaviour.HANG)
        made = await here.post("/schedules", here.ada, ON_DEMAND, status=201)
        running = await here.post(f"/schedules/{made['id']}/trigger?wait=0", here.ada, status=202)
        await here.agentos.called(1)
        await here.post("/owners/ada/revoke", here.root)
        (run_id,) = here.agentos.runs
        here.agentos.finish(run_id)
        assert (await here.settled(running["id"])).status is RunStatus.SUCCESS


# whoever may write schedules but not run the agent, and payloads that claim to be somebody else


async def test_who_may_not_run_it_may_not_have_it_run_in_any_way() -> None:
    async with scene() as here:
        made = await here.post("/schedules", here.ada, DRAFT, status=201)
        one = f"/schedules/{made['id']}"
        for scopes in ((), ("agents:other:run", "teams:run"), ("targets:hooks:call",)):
            lesser = here.token("ada", "schedules:read", "schedules:write", *scopes)
            requests = [
                ("POST", "/schedules", DRAFT | {"name": "another"}),
                ("PATCH", one, {"endpoint": "/teams/greeter/runs" if not scopes else "/agents/third/runs"}),
                (
                    "PATCH",
                    one,
                    {"target": "hooks", "endpoint": "/agents/greeter/runs?x"} if not scopes else {"method": "GET"},
                ),
                ("PATCH", one, {"payload": {"message": "do something else"}}),
                ("POST", f"{one}/enable", None),
                ("POST", f"{one}/trigger", None),
                ("POST", "/schedules/by-name/nightly/trigger", {"payload": {"message": "x"}}),
                ("POST", f"{one}/backfills", {"from": "2025-12-31T00:00", "until": "2025-12-31T00:03"}),
            ]
            for method, path, body in requests:
                answer = await here.client.request(method, path, json=body, headers=lesser)
                assert answer.status_code == 403, (scopes, method, path, answer.text)
            # What calls nothing is theirs to change.
            assert (await here.client.patch(one, json={"description": "x"}, headers=lesser)).status_code == 200
        assert here.agentos.calls == []


FOREIGN: Final = (
    {"user_id": "eve"},
    {"user_id": ""},
    {"user_id": ["ada"]},
    {"user_id": 0},
    {"message": "x", "user_id": "Ada"},
)


@pytest.mark.parametrize("payload", FOREIGN)
async def test_a_payload_speaks_for_nobody_but_the_owner(payload: dict[str, Any]) -> None:
    async with scene() as here:
        made = await here.post("/schedules", here.ada, ON_DEMAND | {"payload": {"user_id": "ada"}}, status=201)
        one = f"/schedules/{made['id']}"
        requests = [
            ("POST", "/schedules", DRAFT | {"payload": payload}),
            ("PATCH", one, {"payload": payload}),
            ("PATCH", one, {"payload": payload, "endpoint": "/agents/greeter/runs"}),
            ("POST", f"{one}/trigger", {"payload": payload}),
            ("POST", f"{one}/trigger", {"payload": payload, "payload_mode": "replace"}),
            ("POST", "/schedules/by-name/by hand/trigger", {"payload": payload}),
        ]
        for headers in (here.ada, here.root):
            for method, path, body in requests[0 if headers == here.ada else 1 :]:
                answer = await here.client.request(method, path, json=body, headers=headers)
                assert answer.status_code == 403, (method, path, answer.text)
                assert "claims to be user" in answer.json()["detail"]
        assert here.agentos.calls == []


async def test_what_got_into_the_database_all_the_same_is_not_sent() -> None:
    async with scene() as here:
        made = await here.post("/schedules", here.ada, DRAFT, status=201)
        forged = {"message": "x", "user_id": "eve"}
        await here.clockwork.store.change_schedule(
            made["id"], lambda schedule, _: replace(schedule, target=replace(schedule.target, payload=forged))
        )
        refused = await here.next_run(made["id"])
        assert refused.status is RunStatus.FAILED
        assert "claims to be user 'eve'" in (refused.error or "")
        assert here.agentos.calls == []
        assert (await here.shown(made["id"]))["disabled_reason"] == refused.error
        for action in ("enable", "trigger"):
            answer = await here.client.post(f"/schedules/{made['id']}/{action}", headers=here.ada)
            assert answer.status_code in (403, 409), answer.text
        years = {"from": "2025-12-31T00:00", "until": "2025-12-31T00:03"}
        answer = await here.client.post(f"/schedules/{made['id']}/backfills", json=years, headers=here.ada)
        assert answer.status_code == 403
        mended = await here.client.patch(f"/schedules/{made['id']}", json={"payload": None}, headers=here.ada)
        assert mended.status_code == 200


async def test_a_schedule_without_an_owner_speaks_for_whom_its_payload_names() -> None:
    async with scene(security_key="the-key") as here:
        key = {"Authorization": "Bearer the-key"}
        made = await here.post("/schedules", key, ON_DEMAND | {"payload": {"user_id": "eve"}}, status=201)
        run = await here.post(f"/schedules/{made['id']}/trigger?wait=60", key)
        assert (made["user_id"], run["status"]) == (None, "success")
        assert here.agentos.calls[0].form["user_id"] == "eve"


# the routes


async def test_owners_are_listed_with_what_their_tokens_grant() -> None:
    async with scene() as here:
        for name in ("carl", "ada", "berta"):
            await here.client.get("/schedules", headers=here.token(name, "schedules:read", "schedules:write"))
        await here.post("/owners/zoe/revoke", here.root)
        first = (await here.client.get("/owners?limit=3", headers=here.root)).json()
        rest = (await here.client.get(f"/owners?cursor={first['meta']['next_cursor']}", headers=here.root)).json()
        rows = first["data"] + rest["data"]
        assert [row["user_id"] for row in rows] == ["ada", "berta", "carl", "root", "zoe"]
        assert first["meta"]["total_count"] == 5
        assert rows[0]["scopes"] == ["schedules:read", "schedules:write"]
        assert rows[0]["issued_at"] == "2026-01-01T00:00:00.000Z"
        assert (rows[4]["scopes"], rows[4]["issued_at"], rows[4]["revoked_by"]) == ([], None, "root")
        again = await here.post("/owners/zoe/revoke", here.token("other", "agent_os:admin"))
        assert again == rows[4]
        assert (await here.post("/owners/zoe/restore", here.root))["revoked_at"] is None
        assert (await here.client.post("/owners/a%00b/revoke", headers=here.root)).status_code == 422
        workload = await here.post("/owners/spiffe:%252F%252Ftest%252fclock/revoke", here.root)
        assert workload["user_id"] == "spiffe://test/clock"
