"""What is noted of owners, and who may have something called: by their tokens, when it is written and at each fire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from agentclock.auth.permits import OwnerPermits
from agentclock.auth.permitted import PermittedExecutor
from agentclock.core.actors import Actor
from agentclock.core.errors import InvalidField, NotFound, SchemaBehind, StoreUnavailable
from agentclock.core.lifecycle import settle
from agentclock.core.model import (
    Cause,
    Claim,
    Instant,
    Instruction,
    InstructionKind,
    Outcome,
    OutcomeKind,
    Run,
    RunStatus,
    Schedule,
    Target,
    TriggerNote,
)
from agentclock.core.owners import Owner, foreign_call
from agentclock.owners import SEEN_AGAIN_SECONDS, Owners, issued_at_of
from agentclock.ports import RunContext, Store
from agentclock.testing import SUCCESS, FakeClock, ScriptedExecutor

BY = Actor("root", "192.0.2.1")
RUN_SCOPE = "agents:greeter:run"


class Book:
    """Of a store only the owners. `trouble`: raised instead of every answer."""

    def __init__(self, *rows: Owner) -> None:
        self.rows = {row.user_id: row for row in rows}
        self.notes: list[tuple[str, tuple[str, ...], Instant | None]] = []
        self.trouble: Exception | None = None

    async def see_owner(self, user_id: str, scopes: Sequence[str], issued_at: Instant | None) -> None:
        self._answer()
        self.notes.append((user_id, tuple(scopes), issued_at))

    async def owner(self, user_id: str) -> Owner | None:
        self._answer()
        return self.rows.get(user_id)

    async def revoke_owner(self, user_id: str, revoked: bool, *, by: Actor) -> Owner:
        at = 1 if revoked else None
        self.rows[user_id] = Owner(user_id=user_id, seen_at=0, revoked_at=at, revoked_by=by.name if revoked else None)
        return self.rows[user_id]

    def _answer(self) -> None:
        if self.trouble is not None:
            raise self.trouble


def owners_on(book: Book, clock: FakeClock | None = None) -> Owners:
    return Owners(cast(Store, book), clock or FakeClock())


def permits_on(book: Book, *, by_scopes: bool = True) -> OwnerPermits:
    return OwnerPermits(cast(Store, book), agentos=("default",), by_scopes=by_scopes)


def claim_of(
    owner: str | None = "ada",
    *,
    endpoint: str = "/agents/greeter/runs",
    target: str = "default",
    payload: Any = None,
    instruction: Instruction | None = None,
    note: TriggerNote | None = None,
) -> Claim:
    called = Target(name=target, endpoint=endpoint, payload=payload)
    schedule = Schedule(id="s", name="s", user_id=owner, target=called)
    run = Run(id="r", schedule_id="s", user_id=owner, cause=Cause.SCHEDULE, fire_at=0, attempt=1, fence=1)
    return Claim(run=replace(run, instruction=instruction, trigger_note=note), schedule=schedule)


async def _note_nothing(_agent_run_id: str | None, _session_id: str | None) -> None: ...


def context_of(claim: Claim) -> RunContext:
    return RunContext(claim=claim, emit=lambda _: None, note_agent_run=_note_nothing)


# what is noted


async def test_a_token_is_noted_when_it_says_something_new_and_once_an_hour() -> None:
    book, clock = Book(), FakeClock()
    owners = owners_on(book, clock)
    for _ in range(3):
        await owners.seen("ada", ["b", "a", "a"], 1_000)
    assert book.notes == [("ada", ("a", "b"), 1_000)]
    await owners.seen("ada", ["a"], 2_000)
    for older in (1_000, None):  # nothing that anybody has to know
        await owners.seen("ada", ["a", "b"], older)
    assert book.notes[1:] == [("ada", ("a",), 2_000)]
    clock.advance(SEEN_AGAIN_SECONDS)
    await owners.seen("ada", ["a"], 2_000)
    assert len(book.notes) == 3


async def test_as_many_owners_as_there_are_need_no_more_memory() -> None:
    book = Book()
    owners = owners_on(book)
    for number in range(10_002):
        await owners.seen(f"user {number}", (), None)
    before = len(book.notes)
    await owners.seen("user 10001", (), None)
    assert len(book.notes) == before
    await owners.seen("user 0", (), None)  # long forgotten
    assert len(book.notes) == before + 1


async def test_a_note_that_was_not_written_is_written_the_next_time() -> None:
    book = Book()
    book.trouble = StoreUnavailable("away")
    owners = owners_on(book)
    with pytest.raises(StoreUnavailable):
        await owners.seen("ada", ("a",), None)
    book.trouble = None
    await owners.seen("ada", ("a",), None)
    assert len(book.notes) == 1


async def test_a_database_of_before_keeps_nobody_from_asking() -> None:
    book = Book()
    book.trouble = SchemaBehind(5)
    await owners_on(book).seen("ada", ("a",), None)
    assert book.notes == []


@pytest.mark.parametrize("user_id", ["", "a\0b", "\ud800", "x" * 513])
async def test_ids_that_cannot_be_stored_are_nobodys(user_id: str) -> None:
    book = Book()
    owners = owners_on(book)
    await owners.seen(user_id, ("a",), None)
    assert book.notes == []
    with pytest.raises(NotFound):
        await owners.get(user_id)
    with pytest.raises(InvalidField):
        await owners.revoke(user_id, by=BY)


@pytest.mark.parametrize(
    ("iat", "at"), [(1.5, 1_500), (2, 2_000), (None, None), ("2", None), (True, None), (-1, None), (float("nan"), None)]
)
def test_the_time_of_issue_is_read_if_it_is_one(iat: object, at: Instant | None) -> None:
    assert issued_at_of(iat) == at


async def test_revoking_and_restoring_say_who_did_it() -> None:
    owners = owners_on(Book())
    revoked = await owners.revoke("ada", by=BY)
    assert (revoked.revoked_at, revoked.revoked_by) == (1, "root")
    assert (await owners.get("ada")) == revoked
    assert (await owners.restore("ada", by=BY)).revoked_at is None


# what an owner may have called


def ada(*scopes: str, revoked: bool = False) -> Owner:
    return Owner(user_id="ada", scopes=scopes, issued_at=1, seen_at=1, revoked_at=2 if revoked else None)


@pytest.mark.parametrize(
    ("scopes", "claim"),
    [
        ((RUN_SCOPE,), claim_of()),
        (("agents:run",), claim_of()),
        (("agents:*:run",), claim_of()),
        (("agent_os:admin",), claim_of(endpoint="/hook")),
        (("targets:hooks:call",), claim_of(endpoint="/hook", target="hooks")),
        (("targets:hooks:call",), claim_of(target="hooks")),  # looks like an agent, on a target that is no AgentOS
        (("agent_os:admin",), claim_of(endpoint="https://hooks.test/x")),
    ],
)
async def test_who_has_the_scope_is_not_refused(scopes: tuple[str, ...], claim: Claim) -> None:
    assert await permits_on(Book(ada(*scopes))).refusal(claim) is None


@pytest.mark.parametrize(
    ("scopes", "claim", "wanted"),
    [
        ((), claim_of(), RUN_SCOPE),
        (("agents:other:run", "teams:run", "agents:greeter:read"), claim_of(), RUN_SCOPE),
        (("agents:run",), claim_of(endpoint="/agents/greeter/runs?x=1"), "targets:default:call"),
        (("agents:run",), claim_of(target="hooks"), "targets:hooks:call"),
        (("agents:run", "targets:default:call"), claim_of(endpoint="https://hooks.test/x"), "agent_os:admin"),
    ],
)
async def test_who_lacks_the_scope_is_told_which(scopes: tuple[str, ...], claim: Claim, wanted: str) -> None:
    refusal = await permits_on(Book(ada(*scopes))).refusal(claim)
    assert refusal is not None
    assert wanted in refusal
    assert "'ada'" in refusal


async def test_whoever_was_revoked_or_never_seen_is_refused_and_nobody_is_not() -> None:
    refusal = await permits_on(Book(ada("agent_os:admin", revoked=True))).refusal(claim_of())
    assert refusal is not None
    assert "revoked" in refusal
    refusal = await permits_on(Book()).refusal(claim_of())
    assert refusal is not None
    assert "no token of theirs that may write" in refusal
    assert RUN_SCOPE in refusal
    assert await permits_on(Book()).refusal(claim_of(None)) is None


async def test_where_owners_bring_no_tokens_only_revocation_counts() -> None:
    assert await permits_on(Book(), by_scopes=False).refusal(claim_of()) is None
    assert await permits_on(Book(ada()), by_scopes=False).refusal(claim_of()) is None
    assert await permits_on(Book(ada(revoked=True)), by_scopes=False).refusal(claim_of()) is not None


async def test_a_database_of_before_knows_nobody_who_was_revoked() -> None:
    book = Book()
    book.trouble = SchemaBehind(5)
    assert await permits_on(book, by_scopes=False).refusal(claim_of()) is None
    with pytest.raises(SchemaBehind):
        await permits_on(book).refusal(claim_of())


# asked before anything leaves


async def test_nothing_is_called_for_who_may_not_have_it_called_and_the_schedule_stops() -> None:
    inner = ScriptedExecutor()
    outcome = await PermittedExecutor(inner, permits_on(Book())).execute(context_of(claim_of()))
    assert inner.contexts == []
    assert (outcome.kind, outcome.retryable) == (OutcomeKind.FAILED, False)
    assert outcome.disables == outcome.error
    assert "'ada'" in (outcome.error or "")
    settled = settle(claim_of(), outcome, 5)
    assert (settled.status, settled.available_at) == (RunStatus.FAILED, None)


async def test_who_may_is_called_for() -> None:
    inner = ScriptedExecutor()
    assert await PermittedExecutor(inner, permits_on(Book(ada(RUN_SCOPE)))).execute(context_of(claim_of())) == SUCCESS


@pytest.mark.parametrize("trouble", [StoreUnavailable("away"), SchemaBehind(5)])
async def test_what_cannot_be_asked_is_not_sent_and_costs_no_attempt(trouble: Exception) -> None:
    book, inner = Book(ada(RUN_SCOPE)), ScriptedExecutor()
    book.trouble = trouble
    outcome = await PermittedExecutor(inner, permits_on(book)).execute(context_of(claim_of()))
    assert inner.contexts == []
    settled = settle(claim_of(), outcome, 5)
    assert (settled.status, settled.attempt, settled.attempt_status) == (RunStatus.PENDING, 0, None)
    assert outcome.disables is None


@pytest.mark.parametrize("kind", [InstructionKind.ATTACH, InstructionKind.CANCEL])
async def test_an_agent_that_works_is_watched_and_cancelled_for_anybody(kind: InstructionKind) -> None:
    inner = ScriptedExecutor()
    claim = claim_of(instruction=Instruction(kind=kind))
    assert await PermittedExecutor(inner, permits_on(Book())).execute(context_of(claim)) == SUCCESS


CONTINUE = Instruction(kind=InstructionKind.CONTINUE, answers={"action": "approve"})


async def test_an_agent_that_waits_is_stopped_instead_of_answered() -> None:
    inner = ScriptedExecutor(lambda context: Outcome(kind=OutcomeKind.FAILED, error=_why(context)))
    outcome = await PermittedExecutor(inner, permits_on(Book())).execute(context_of(claim_of(instruction=CONTINUE)))
    (told,) = [context.claim.run.instruction for context in inner.contexts]
    assert told is not None
    assert (told.kind, told.ends_as) == (InstructionKind.CANCEL, RunStatus.FAILED)
    assert (outcome.kind, outcome.retryable) == (OutcomeKind.FAILED, False)
    assert outcome.disables is not None
    assert outcome.disables == told.why


@pytest.mark.parametrize("kind", [OutcomeKind.REFUSED, OutcomeKind.LOST, OutcomeKind.PAUSED, OutcomeKind.CANCELLED])
async def test_however_stopping_it_ends_nobody_answers_it(kind: OutcomeKind) -> None:
    inner = ScriptedExecutor([Outcome(kind=kind, retryable=True, error="something else")])
    outcome = await PermittedExecutor(inner, permits_on(Book())).execute(context_of(claim_of(instruction=CONTINUE)))
    assert (outcome.kind, outcome.retryable) == (OutcomeKind.FAILED, False)
    assert outcome.disables is not None
    assert outcome.error == outcome.disables


@pytest.mark.parametrize("outcome", [SUCCESS, Outcome(kind=OutcomeKind.DETACHED)])
async def test_what_was_over_before_it_could_be_stopped_stays_so(outcome: Outcome) -> None:
    executor = PermittedExecutor(ScriptedExecutor([outcome]), permits_on(Book()))
    assert await executor.execute(context_of(claim_of(instruction=CONTINUE))) == outcome


def _why(context: RunContext) -> str | None:
    told = context.claim.run.instruction
    return None if told is None else told.why


async def test_a_refusal_by_the_target_names_the_owner() -> None:
    refused = Outcome(kind=OutcomeKind.FAILED, status_code=403, error="HTTP 403 Forbidden: Schedule owner is disabled")
    book = Book(ada(RUN_SCOPE))
    outcome = await PermittedExecutor(ScriptedExecutor([refused]), permits_on(book)).execute(context_of(claim_of()))
    assert outcome.error == f"the target refuses this call for the owner 'ada': {refused.error}"
    ownerless = context_of(claim_of(None))
    assert await PermittedExecutor(ScriptedExecutor([refused]), permits_on(book)).execute(ownerless) == refused


# whom a call speaks for


@pytest.mark.parametrize(
    ("payload", "endpoint"),
    [
        ({"user_id": "eve"}, "/agents/greeter/runs"),
        ({"user_id": ""}, "/agents/greeter/runs"),
        ({"user_id": ["ada"]}, "/agents/greeter/runs"),
        (None, "/sessions?user_id=eve"),
        (None, "/sessions?x=1&user_id=ada&user_id=eve"),
        (None, "/sessions?user%5Fid=eve"),
        (None, "/sessions?user_id="),
        ({"user_id": "ada"}, "/sessions?user_id=eve"),
    ],
)
async def test_a_call_that_speaks_for_somebody_else_is_never_made(payload: Any, endpoint: str) -> None:
    claim, inner = claim_of(payload=payload, endpoint=endpoint), ScriptedExecutor()
    outcome = await PermittedExecutor(inner, permits_on(Book(ada("agent_os:admin")))).execute(context_of(claim))
    assert inner.contexts == []
    assert outcome.kind is OutcomeKind.FAILED
    assert outcome.disables is not None
    assert "claims to be user" in outcome.disables
    assert foreign_call(claim.schedule.target, None) is None


@pytest.mark.parametrize(
    "payload", [None, {}, {"user_id": None}, {"user_id": "ada"}, ["user_id", "eve"], "user_id=eve"]
)
def test_a_call_may_name_its_owner_or_nobody(payload: Any) -> None:
    assert foreign_call(Target(endpoint="/sessions?user_id=ada", payload=payload), "ada") is None


def test_what_a_payload_claims_is_repeated_in_part_only() -> None:
    fault = foreign_call(Target(endpoint="/x", payload={"user_id": "x" * 1_000_000}), "ada")
    assert fault is not None
    assert len(fault) < 300


async def test_what_one_trigger_said_does_not_stop_the_schedule() -> None:
    note = TriggerNote(has_payload=True, payload={"user_id": "eve"})
    claim = claim_of(payload=note.payload, note=note)
    outcome = await PermittedExecutor(ScriptedExecutor(), permits_on(Book(ada(RUN_SCOPE)))).execute(context_of(claim))
    assert (outcome.kind, outcome.disables) == (OutcomeKind.FAILED, None)
