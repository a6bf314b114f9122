"""The executor that asks first: nothing is called for an owner who may not have it called (any more)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import structlog

from agentclock.core.errors import SchemaBehind, Unavailable
from agentclock.core.model import Claim, Instruction, InstructionKind, Outcome, OutcomeKind, RunStatus
from agentclock.core.owners import foreign_call
from agentclock.ports import Executor, Permits, RunContext

_FORBIDDEN: Final = 403


class PermittedExecutor:
    """Implements `ports.Executor` by way of another one.

    Asked is before an attempt starts and before an agent is given an answer. Whoever is refused has the run failed, for
    good, and the schedule disabled. An agent that works already is watched to its end, or cancelled, for anybody.
    """

    def __init__(self, inner: Executor, permits: Permits) -> None:
        self._inner = inner
        self._permits = permits

    async def execute(self, context: RunContext) -> Outcome:
        claim, instruction = context.claim, context.claim.run.instruction
        if instruction is not None and instruction.kind is not InstructionKind.CONTINUE:
            return await self._inner.execute(context)
        try:
            refusal = await self._refusal(claim)
        except (Unavailable, SchemaBehind) as error:
            text = f"nothing was sent: whether the owner may have it called cannot be found out now ({error})"
            return Outcome(kind=OutcomeKind.REFUSED, retryable=True, error=text)
        if refusal is None:
            return _explained(claim, await self._inner.execute(context))
        structlog.get_logger("agentclock.auth").warning("owner_refused", user_id=claim.schedule.user_id, reason=refusal)
        if instruction is None:
            return Outcome(kind=OutcomeKind.FAILED, error=refusal, disables=_disabling(claim, refusal))
        return await self._ended(context, refusal)

    async def _refusal(self, claim: Claim) -> str | None:
        schedule = claim.schedule
        return foreign_call(schedule.target, schedule.user_id) or await self._permits.refusal(claim)

    async def _ended(self, context: RunContext, refusal: str) -> Outcome:
        """An agent that waits for an answer which it must not get: it is stopped, so that nobody else gives it one."""
        claim = context.claim
        stop = Instruction(kind=InstructionKind.CANCEL, why=refusal, ends_as=RunStatus.FAILED)
        stopped = replace(claim, run=replace(claim.run, instruction=stop))
        outcome = await self._inner.execute(replace(context, claim=stopped))
        if outcome.kind in (OutcomeKind.SUCCESS, OutcomeKind.DETACHED):
            return outcome
        return replace(
            outcome,
            kind=OutcomeKind.FAILED,
            retryable=False,
            error=outcome.error if refusal in (outcome.error or "") else refusal,
            disables=_disabling(claim, refusal),
        )

    def can_attach(self, claim: Claim) -> bool:
        return self._inner.can_attach(claim)

    async def has_moved_on(self, claim: Claim) -> bool:
        return await self._inner.has_moved_on(claim)

    async def close(self) -> None:
        await self._inner.close()


def _disabling(claim: Claim, refusal: str) -> str | None:
    """What one trigger said of its own run is not the schedule's fault."""
    note, schedule = claim.run.trigger_note, claim.schedule
    said_by_trigger = note is not None and note.has_payload and foreign_call(schedule.target, schedule.user_id)
    return None if said_by_trigger else refusal


def _explained(claim: Claim, outcome: Outcome) -> Outcome:
    """A target may refuse the owner by rules of its own: the status alone would not tell that it is about the owner."""
    owner = claim.schedule.user_id
    if owner is None or outcome.kind is not OutcomeKind.FAILED or outcome.status_code != _FORBIDDEN:
        return outcome
    return replace(outcome, error=f"the target refuses this call for the owner {owner!r}: {outcome.error}")
