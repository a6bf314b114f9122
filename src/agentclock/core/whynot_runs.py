"""What became of a fire that has a row, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, assert_never

from agentclock.core.audit import Action
from agentclock.core.concerns import length_text
from agentclock.core.figures import duration_ms, lateness_ms
from agentclock.core.fingerprints import hint
from agentclock.core.model import CatchUp, Cause, Instant, Reason, Run, RunStatus
from agentclock.core.whynot import Because, Evidence, Fact, Verdict

_ERROR_CHARACTERS: Final = 200
#: A start within this is on time.
_ON_TIME_MS: Final = 1_000

_CATCH_UP: Final = {
    CatchUp.LATEST: "of missed fires only the newest is made up (catch_up=latest)",
    CatchUp.NONE: "missed fires are not made up (catch_up=none)",
    CatchUp.ALL: "every missed fire is made up, up to a number (catch_up=all)",
}


def of_record(evidence: Evidence, run: Run, due: Instant) -> Because:
    verdict, answer = _said(evidence, run, due)
    return Because(verdict=verdict, answer=answer, at=due, facts=tuple(_facts(evidence, run, due)), run_id=run.id)


def _said(evidence: Evidence, run: Run, due: Instant) -> tuple[Verdict, str]:
    if run.status is RunStatus.CANCELLED and run.started_at is None:
        return Verdict.SKIPPED, f"It did not run at {evidence.then}: {_canceller(evidence, run)} before it began."
    match run.status:
        case RunStatus.PENDING:
            return Verdict.WAITING, f"The run of {evidence.then} waits {_what_for(evidence, run)}."
        case RunStatus.RUNNING:
            return Verdict.RUNNING, _running(evidence, run)
        case RunStatus.PAUSED:
            since = "" if run.paused_at is None else f" since {evidence.time(run.paused_at)}"
            return Verdict.WAITING, f"The run of {evidence.then} waits for a human{since}: approve or reject it."
        case RunStatus.SKIPPED | RunStatus.MISSED:
            return _absent(evidence, run, due)
        case RunStatus.SUCCESS | RunStatus.FAILED | RunStatus.TIMEOUT | RunStatus.CANCELLED | RunStatus.LOST:
            return Verdict.RAN, _ran(evidence, run)
    assert_never(run.status)


def _absent(evidence: Evidence, run: Run, due: Instant) -> tuple[Verdict, str]:
    if run.status is RunStatus.SKIPPED:
        return Verdict.SKIPPED, _skipped(evidence, run)
    return Verdict.MISSED, _missed(evidence, run, due)


def _ran(evidence: Evidence, run: Run) -> str:
    return f"It ran: {_begun(evidence, run)} and {_end(evidence, run)}."


def _begun(evidence: Evidence, run: Run) -> str:
    """ "due at 03:00 on 29 March 2026, it began on time"."""
    due = f"due at {evidence.then}, it"
    if run.started_at is None:
        return f"{due} could not begin"
    if run.cause is Cause.CATCH_UP:
        late = length_text(run.started_at - run.fire_at)
        return f"{due} was noticed late and made up at {evidence.time(run.started_at)}, {late} after its time,"
    late_ms = lateness_ms(run, evidence.schedule.jitter_seconds) or 0
    if late_ms < _ON_TIME_MS:
        return f"{due} began on time" + (f" ({late_ms} ms late)" if late_ms else "")
    return f"{due} began {length_text(late_ms)} late, at {evidence.time(run.started_at)},"


def _end(evidence: Evidence, run: Run) -> str:
    took_ms = duration_ms(run)
    took = "" if took_ms is None else f" after {_length(took_ms)}"
    tries = "" if run.attempt <= 1 else f" at attempt {run.attempt}"
    match run.status:
        case RunStatus.SUCCESS:
            return f"succeeded{took}{tries}"
        case RunStatus.TIMEOUT:
            return f"took longer than it may: it was stopped{took}{tries}"
        case RunStatus.LOST:
            return f"was lost{took}{tries}: nobody knows how it ended{_error(run)}"
        case RunStatus.CANCELLED:
            return f"went on until {_canceller(evidence, run)}"
        case _:
            return f"failed{took}{tries}{_error(run)}"


def _running(evidence: Evidence, run: Run) -> str:
    since = "" if run.started_at is None else f" since {evidence.time(run.started_at)}"
    if (until := evidence.hands.holder_until) is not None and until <= evidence.now:
        return (
            f"The run of {evidence.then} began, but its worker has given no sign of life since {evidence.time(until)}: "
            f"{'another worker takes it over' if evidence.hands.alive else 'no other worker is there to take it over'}."
        )
    tries = "" if run.attempt <= 1 else f", now at attempt {run.attempt}"
    return f"The run of {evidence.then} is running{since}{tries}."


def _what_for(evidence: Evidence, run: Run) -> str:
    if run.cancel_requested:
        return "to be cancelled, as somebody asked"
    if not evidence.hands.alive:
        seen = evidence.hands.last_seen_at
        last = "" if seen is None else f" since {evidence.time(seen)}"
        return f"for a worker: none has been alive{last} that could execute it"
    if run.available_at is None:
        return f"for the run before it to end: {_rival(evidence)} (overlap=queue)"
    if run.available_at > evidence.now:
        return _when_it_is_time(evidence, run, evidence.time(run.available_at))
    return "for a free worker: all of them are busy"


def _when_it_is_time(evidence: Evidence, run: Run, at: str) -> str:
    if run.refusals:
        return f"for its target, which refuses the connection: it is tried again at {at}"
    if run.attempt:
        return f"for attempt {run.attempt + 1}, at {at}: attempt {run.attempt} failed{_error(run, evidence)}"
    return f"for its turn: it starts at {at} (jitter or stagger)"


def _skipped(evidence: Evidence, run: Run) -> str:
    why = _rival(evidence)
    if run.reason is Reason.QUEUE_FULL:
        return f"It was skipped at {evidence.then}: {why}, and another run was waiting already (overlap=queue)."
    return f"It was skipped at {evidence.then}: {why} (overlap={evidence.schedule.overlap})."


def _rival(evidence: Evidence) -> str:
    rival = evidence.rival
    if rival is None:
        return "the run before it was still active"
    if rival.started_at is None:
        state = "was waiting"
    elif rival.paused_at is not None and rival.status is RunStatus.PAUSED:
        state = f"has been waiting for a human since {evidence.time(rival.paused_at)}"
    else:
        state = f"had been running since {evidence.time(rival.started_at)}"
    until = "" if rival.completed_at is None else f" and ended at {evidence.time(rival.completed_at)}"
    return f"the run of {evidence.time(rival.fire_at)} {state}{until}"


def _missed(evidence: Evidence, run: Run, due: Instant) -> str:
    begin = f"It was missed at {evidence.then}"
    if run.reason is Reason.CHANGED:
        return f"{begin}: the schedule was changed before anybody had planned this fire."
    noticed_at = max(run.created_at, due)
    late = f"nobody noticed that it was due until {evidence.time(noticed_at)}, {length_text(noticed_at - due)} later"
    match run.reason:
        case Reason.OUTSIDE_WINDOW:
            window = length_text(evidence.schedule.catch_up_window_seconds * 1_000)
            why = f"what is older than {window} is not made up (catch_up_window_seconds)"
        case Reason.CATCH_UP_CAP:
            why = f"no more than {evidence.schedule.catch_up_limit} fires are made up at once (catch_up_limit)"
        case Reason.CATCH_UP_NONE:
            why = _CATCH_UP[CatchUp.NONE]
        case Reason.SUPERSEDED:
            why = _CATCH_UP[CatchUp.LATEST]
        case _:
            why = _CATCH_UP[evidence.schedule.catch_up]
    return f"{begin}: {late}, and {why}."


def _canceller(evidence: Evidence, run: Run) -> str:
    entry = next((e for e in evidence.entries if e.run_id == run.id and e.action is Action.CANCELLED), None)
    who = (entry.actor if entry else None) or "somebody"
    at = entry.at if entry else run.completed_at
    return f"{who} cancelled it{'' if at is None else f' at {evidence.time(at)}'}"


def _facts(evidence: Evidence, run: Run, due: Instant) -> Iterator[Fact]:
    if run.fire_count > 1 and run.last_fire_at is not None:
        span = f"{evidence.time(run.fire_at)} to {evidence.time(run.last_fire_at)}"
        yield Fact(kind="stretch", text=f"The same goes for {run.fire_count:,} fires in a row, {span}.", at=run.fire_at)
    if run.reason is not None:
        yield Fact(kind="reason", text=f"Recorded as: {run.reason.text}.", at=run.created_at, run_id=run.id)
    if run.status is RunStatus.MISSED:
        yield Fact(kind="policy", text=f"The schedule's policy: {_CATCH_UP[evidence.schedule.catch_up]}.")
    if evidence.rival is not None and (run.status is RunStatus.SKIPPED or run.available_at is None):
        text = f"The run of {evidence.time(evidence.rival.fire_at)} was active then."
        yield Fact(kind="overlap", text=text, at=evidence.rival.started_at, run_id=evidence.rival.id)
    if run.refusals:
        times = "once" if run.refusals == 1 else f"{run.refusals} times"
        yield Fact(kind="refused", text=f"The target refused the connection {times}.", run_id=run.id)
    for attempt in evidence.attempts:
        how = f": {_one_line(attempt.error)}" if attempt.error else ""
        worker = f" by {attempt.worker}" if attempt.worker else ""
        text = f"Attempt {attempt.number}{worker}: {attempt.status}{how}"
        yield Fact(kind="attempt", text=text, at=attempt.started_at, by=attempt.worker, run_id=run.id)
    if run.status in (RunStatus.FAILED, RunStatus.TIMEOUT, RunStatus.LOST):
        advice = hint(run.status, run.status_code, run.error)
        if advice is not None:
            yield Fact(kind="hint", text=advice)


def _error(run: Run, evidence: Evidence | None = None) -> str:
    error = run.error
    if error is None and evidence is not None and evidence.attempts:
        error = evidence.attempts[-1].error
    return f": {_one_line(error)}" if error else ""


def _one_line(error: str) -> str:
    text = " ".join(error.split()).rstrip(".")
    return text if len(text) <= _ERROR_CHARACTERS else f"{text[:_ERROR_CHARACTERS]}…"


def _length(ms: int) -> str:
    return f"{ms} ms" if ms < 1_000 else length_text(ms)
