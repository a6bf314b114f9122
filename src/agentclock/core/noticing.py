"""What webhooks are told of what the store has written: pure, in the transaction of that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from agentclock.core.errors import CorruptRow
from agentclock.core.ids import time_ordered_id
from agentclock.core.instants import iso_utc
from agentclock.core.lifecycle import Settlement
from agentclock.core.model import Cause, Claim, Instant, Json, RunStatus, Schedule
from agentclock.core.notices import Notice, NoticeKind, Subscription
from agentclock.core.planning import Absence

#: How much of a run's output goes along, as characters of JSON, and of its error.
OUTPUT_LENGTH: Final = 65_536
ERROR_LENGTH: Final = 4_096

_TOLD: Final = {
    RunStatus.SUCCESS: NoticeKind.SUCCEEDED,
    RunStatus.FAILED: NoticeKind.FAILED,
    RunStatus.TIMEOUT: NoticeKind.FAILED,
    RunStatus.LOST: NoticeKind.LOST,
    RunStatus.PAUSED: NoticeKind.PAUSED,
}


def perhaps_recovered(
    subscriptions: Sequence[Subscription], settlements: Iterable[Settlement]
) -> list[tuple[str, str]]:
    """Run and schedule of each success that somebody wants to be told of if the run before it went wrong. A backfill
    goes through the past: that it succeeds there says nothing of now."""
    return [
        (settlement.run_id, settlement.schedule_id)
        for settlement in settlements
        if settlement.status is RunStatus.SUCCESS
        and settlement.claim is not None
        and settlement.claim.run.cause is not Cause.BACKFILL
        and _interested(subscriptions, NoticeKind.RECOVERED, settlement.claim.schedule)
    ]


def of_settlements(
    subscriptions: Sequence[Subscription], settlements: Iterable[Settlement], recovered: Collection[str] = ()
) -> list[Notice]:
    """Of settlements that were written as they are; `recovered`: the runs before which one went wrong. A settlement
    after which the run goes on (another attempt follows, another worker takes it up) is no news."""
    notices: list[Notice] = []
    for settlement in settlements:
        kind = _TOLD.get(settlement.status)
        if kind is None or settlement.claim is None:
            continue
        notices += _of_settlement(subscriptions, settlement, settlement.claim, kind)
        if settlement.run_id in recovered:
            notices += _of_settlement(subscriptions, settlement, settlement.claim, NoticeKind.RECOVERED)
    return notices


def of_absences(
    subscriptions: Sequence[Subscription], absences: Iterable[tuple[Schedule, Absence]], at: Instant
) -> list[Notice]:
    """Of fires that were missed; what the overlap policy skips is as it was wished for."""
    return [
        _notice(
            subscription,
            NoticeKind.MISSED,
            at,
            schedule,
            {"schedule": _about(schedule), "missed": _missed(absence)},
            f"{absence.run_id}|{absence.fire_at}|{absence.last_fire_at}",
        )
        for schedule, absence in absences
        if absence.status is RunStatus.MISSED
        for subscription in _interested(subscriptions, NoticeKind.MISSED, schedule)
    ]


def of_disabled(
    subscriptions: Sequence[Subscription], schedules: Iterable[tuple[Schedule, str | None]], at: Instant, by: str | None
) -> list[Notice]:
    """Of schedules that were switched off, each with the reason if there is one. `by`: who did it."""
    return [
        _notice(
            subscription,
            NoticeKind.DISABLED,
            at,
            schedule,
            {"schedule": _about(schedule), "disabled": {"reason": _cut(reason), "by": by}},
            f"disabled|{schedule.version}",
        )
        for schedule, reason in schedules
        for subscription in _interested(subscriptions, NoticeKind.DISABLED, schedule)
    ]


def of_unreadable(
    subscriptions: Sequence[Subscription], faults: Iterable[CorruptRow], at: Instant, by: str | None
) -> list[Notice]:
    """Of schedules that were switched off because their rows cannot be read: nobody knows their tags, so those are told
    who want to know of all."""
    return [
        Notice(
            id=_id(subscription, NoticeKind.DISABLED, at, f"unreadable|{fault.row_id}|{at}"),
            webhook=subscription.webhook,
            kind=NoticeKind.DISABLED,
            created_at=at,
            schedule_id=fault.row_id,
            data={
                "schedule": {"id": fault.row_id, "name": None, "tags": [], "user_id": None},
                "disabled": {"reason": _cut(fault.reason), "by": by},
            },
        )
        for fault in faults
        for subscription in subscriptions
        if NoticeKind.DISABLED in subscription.kinds and not subscription.tags
    ]


def _of_settlement(
    subscriptions: Sequence[Subscription], settlement: Settlement, claim: Claim, kind: NoticeKind
) -> Iterable[Notice]:
    for subscription in _interested(subscriptions, kind, claim.schedule):
        run = _run(settlement, claim)
        if kind is NoticeKind.SUCCEEDED and subscription.with_output:
            run |= _output(settlement.outcome.output)
        yield _notice(
            subscription,
            kind,
            settlement.ended_at,
            claim.schedule,
            {"schedule": _about(claim.schedule), "run": run},
            f"{settlement.run_id}|{settlement.fence}",
            run_id=settlement.run_id,
        )


def _interested(subscriptions: Sequence[Subscription], kind: NoticeKind, schedule: Schedule) -> list[Subscription]:
    return [
        one
        for one in subscriptions
        if kind in one.kinds and (not one.tags or not frozenset(one.tags).isdisjoint(schedule.tags))
    ]


def _notice(
    subscription: Subscription,
    kind: NoticeKind,
    at: Instant,
    schedule: Schedule,
    data: Json,
    what: str,
    run_id: str | None = None,
) -> Notice:
    return Notice(
        id=_id(subscription, kind, at, f"{schedule.id}|{what}"),
        webhook=subscription.webhook,
        kind=kind,
        created_at=at,
        schedule_id=schedule.id,
        run_id=run_id,
        user_id=schedule.user_id,
        data=data,
    )


def _id(subscription: Subscription, kind: NoticeKind, at: Instant, what: str) -> str:
    """The same whenever the same is told, so that a transaction which is tried again tells it once."""
    told = f"{subscription.webhook}|{kind}|{what}"
    digest = hashlib.blake2b(told.encode("utf-8", "replace"), digest_size=10, person=b"notice").digest()
    return time_ordered_id(at, digest)


def _about(schedule: Schedule) -> dict[str, Json]:
    return {"id": schedule.id, "name": schedule.name, "tags": list(schedule.tags), "user_id": schedule.user_id}


def _run(settlement: Settlement, claim: Claim) -> dict[str, Json]:
    run, outcome = claim.run, settlement.outcome
    told: dict[str, Json] = {
        "id": run.id,
        "cause": run.cause.value,
        "fire_at": iso_utc(run.fire_at),
        "attempt": settlement.attempt,
        "status": settlement.status.value,
        "error": _cut(outcome.error),
        "started_at": _iso(run.started_at),
        "completed_at": _iso(settlement.completed_at),
        "agent_run_id": outcome.agent_run_id or run.agent_run_id,
    }
    if settlement.status is RunStatus.PAUSED:
        told["approval_due_at"] = _iso(settlement.approval_due_at)
    return told


def _missed(absence: Absence) -> dict[str, Json]:
    return {
        "count": absence.count,
        "first_fire_at": iso_utc(absence.fire_at),
        "last_fire_at": iso_utc(absence.last_fire_at),
        "reason": absence.reason.value,
    }


def _output(output: Json) -> dict[str, Json]:
    """Whole, or else the beginning of it as text."""
    text = output if isinstance(output, str) else json.dumps(output, separators=(",", ":"), default=str)
    if len(text) <= OUTPUT_LENGTH:
        return {"output": output}
    return {"output": text[:OUTPUT_LENGTH], "output_is_cut": True}


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= ERROR_LENGTH else text[: ERROR_LENGTH - 1] + "…"


def _iso(at: Instant | None) -> str | None:
    return None if at is None else iso_utc(at)
