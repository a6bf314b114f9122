"""The answer for any moment: what became of its fire, or why there was none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from agentclock.core.books import Period
from agentclock.core.concerns import length_text
from agentclock.core.cron import Cron, CronError, CronKind
from agentclock.core.model import Cause, Instant, RunStatus, Schedule
from agentclock.core.moments import moment_at
from agentclock.core.timetable import timetable_of
from agentclock.core.whynot import (
    Because,
    Evidence,
    Fact,
    Verdict,
    due_in,
    is_due_as_shown,
    is_made_up,
    near,
    ruling,
    switch_around,
)
from agentclock.core.whynot_runs import of_record
from agentclock.core.zones import ZoneError


def explain(evidence: Evidence) -> Because:
    found = _found(evidence)
    return replace(found, facts=(*found.facts, *_circumstances(evidence, found)))


def _found(evidence: Evidence) -> Because:
    period = ruling(evidence.books, evidence.moment.at)
    row = period.schedule if period is not None else evidence.schedule
    if evidence.moment.is_skipped:
        return _nonexistent(evidence, row)
    due = due_in(row, evidence.moment)
    if due is None and evidence.record is not None:
        due = evidence.record.fire_at
    if due is not None and due != evidence.moment.at:
        evidence = replace(evidence, moment=moment_at(due, evidence.moment.zone))
    if evidence.record is not None and due is not None:
        return of_record(evidence, evidence.record, due)
    return _without_record(evidence, period, row, due)


def _without_record(evidence: Evidence, period: Period | None, row: Schedule, due: Instant | None) -> Because:
    at, first = evidence.moment.at, evidence.revisions[0].at if evidence.revisions else evidence.schedule.created_at
    deletion = evidence.deletion
    if deletion is not None and at >= deletion.at:
        by = f" by {deletion.by}" if deletion.by else ""
        when = evidence.time(deletion.at)
        return Because(
            verdict=Verdict.DISABLED,
            answer=f"Nothing was due at {evidence.then}: the schedule was deleted at {when}{by}.",
            facts=(Fact(kind="deleted", text=f"Deleted at {when}.", at=deletion.at, by=deletion.by),),
        )
    created_at = min(first, evidence.schedule.created_at)
    if at < created_at:
        return _not_yet_created(evidence, created_at)
    if (fault := _fault(row)) is not None:
        answer = f"Nobody can tell whether something was due at {evidence.then}: the timetable cannot be read: {fault}."
        return Because(verdict=Verdict.UNKNOWN, answer=answer)
    if due is None:
        return _unknown_then(evidence) or _not_due(evidence, row)
    if at > evidence.now:
        return _ahead(evidence, row, due)
    return _barred(evidence, period, row, due) or _unrecorded(evidence, period, row, due)


def _fault(row: Schedule) -> str | None:
    try:
        timetable_of(row)
    except (CronError, ZoneError) as error:
        return str(error).rstrip(".")
    return None


def _barred(evidence: Evidence, period: Period | None, row: Schedule, due: Instant) -> Because | None:
    """What kept a fire of the timetable from being due; None: nothing did."""
    if not row.enabled:
        return _disabled(evidence, due)
    if (outside := _outside(evidence, row, due)) is not None:
        return outside
    if row.max_runs is not None and (period is None or period.last_due_at < due):
        return _used_up(evidence, row, due)
    return None


def _not_yet_created(evidence: Evidence, created_at: Instant) -> Because:
    by = next((one.by for one in evidence.revisions if one.by), None)
    who, when = f" by {by}" if by else "", evidence.time(created_at)
    return Because(
        verdict=Verdict.NOT_YET_CREATED,
        answer=f"The schedule did not exist yet at {evidence.then}: it was created at {when}{who}.",
        facts=(Fact(kind="created", text=f"Created at {when}.", at=created_at, by=by),),
    )


def _disabled(evidence: Evidence, due: Instant) -> Because:
    switch = switch_around(evidence)
    is_past = evidence.moment.at <= evidence.now
    who = switch.off_by or ("agentclock itself" if switch.reason else "somebody")
    done = f"{who} disabled it" + ("" if switch.off_at is None else f" at {evidence.time(switch.off_at)}")
    why = "" if switch.reason is None else f" ({switch.reason})"
    again = ""
    facts = [Fact(kind="disabled", text=f"{done}{why}.", at=switch.off_at, by=switch.off_by)]
    if switch.on_at is not None:
        by = f" by {switch.on_by}" if switch.on_by else ""
        again = f", and it was enabled again at {evidence.time(switch.on_at)}{by}"
        facts.append(Fact(kind="enabled", text=f"Enabled again{by}.", at=switch.on_at, by=switch.on_by))
    verb = "did not run" if is_past else "will not run"
    state = "was" if is_past else "is"
    answer = f"It {verb} at {evidence.then} because the schedule {state} disabled: {done}{why}{again}."
    return Because(verdict=Verdict.DISABLED, answer=answer, at=due, facts=tuple(facts))


def _outside(evidence: Evidence, row: Schedule, due: Instant) -> Because | None:
    if row.start_at is not None and due < row.start_at:
        bound, word = row.start_at, "before it starts"
    elif row.end_at is not None and due > row.end_at:
        bound, word = row.end_at, "after it ended"
    else:
        return None
    name = "start_at" if bound == row.start_at else "end_at"
    answer = f"Nothing was due at {evidence.then}: that is {word}, at {evidence.time(bound)} ({name})."
    if due > evidence.now:
        answer = answer.replace("was due", "will be due").replace("it ended", "it ends")
    fact = Fact(kind=name, text=f"The schedule's {name} is {evidence.time(bound)}.", at=bound)
    return Because(verdict=Verdict.OUTSIDE_WINDOW, answer=answer, at=due, facts=(fact,))


def _used_up(evidence: Evidence, row: Schedule, due: Instant) -> Because:
    last = evidence.schedule.last_fire_at
    when = "" if last is None else f", the last at {evidence.time(last)}"
    runs = "its one run" if row.max_runs == 1 else f"all of its {row.max_runs:,} runs"
    return Because(
        verdict=Verdict.MAX_RUNS,
        answer=f"Nothing was due at {evidence.then}: the schedule had had {runs} by then{when} (max_runs).",
        at=due,
        facts=(Fact(kind="max_runs", text=f"The schedule's max_runs is {row.max_runs}.", at=last),),
    )


def _ahead(evidence: Evidence, row: Schedule, due: Instant) -> Because:
    if not row.enabled:
        return _disabled(evidence, due)
    if (outside := _outside(evidence, row, due)) is not None:
        return outside
    if row.max_runs is not None and evidence.schedule.run_count >= row.max_runs:
        return _used_up(evidence, row, due)
    until = length_text(due - evidence.now)
    answer = f"That is still ahead: it is due at {evidence.then}, in {until}."
    warning = Fact(kind="no_worker", text="No worker is alive at the moment: without one nothing will run.")
    facts = () if evidence.hands.alive else (warning,)
    return Because(verdict=Verdict.FUTURE, answer=answer, at=due, facts=facts)


def _unrecorded(evidence: Evidence, period: Period | None, row: Schedule, due: Instant) -> Because:
    """It was due, and yet there is no row."""
    next_at = evidence.schedule.next_fire_at
    if evidence.schedule.enabled and next_at is not None and next_at <= due:
        late = length_text(evidence.now - due)
        if evidence.hands.alive:
            why = "workers are alive, but none has planned it: look at /health and at their logs"
        else:
            seen = evidence.hands.last_seen_at
            why = "no worker is alive" + ("" if seen is None else f", the last was seen at {evidence.time(seen)}")
        answer = f"It is overdue: it was due at {evidence.then}, {late} ago, and nobody has planned it since: {why}."
        return Because(verdict=Verdict.OVERDUE, answer=answer, at=due)
    if evidence.kept_since is not None and due < evidence.kept_since:
        answer = (
            f"It was due at {evidence.then}, but what became of it is not known any more: older history is deleted."
        )
        return Because(verdict=Verdict.UNKNOWN, answer=answer, at=due)
    if period is None and (unknown := _unknown_then(evidence)) is not None:
        return replace(unknown, at=due)
    answer = f"What became of {evidence.then} is not known: it was due, and there is no record of it."
    facts = (Fact(kind="hint", text="`agentclock doctor` checks the accounts of every schedule."),)
    return Because(verdict=Verdict.UNKNOWN, answer=answer, at=due, facts=facts)


def _unknown_then(evidence: Evidence) -> Because | None:
    """None: it is known what was due."""
    at = evidence.moment.at
    why = next((gap.why for gap in evidence.books.unknown if gap.after < at <= gap.until), None)
    if why is None:
        return None
    return Because(verdict=Verdict.UNKNOWN, answer=f"What was due at {evidence.then} is not known: {why}.")


def _not_due(evidence: Evidence, row: Schedule) -> Because:
    is_past = evidence.moment.at <= evidence.now
    verb = "was" if is_past else "is"
    if (second := _second_time(evidence, row)) is not None:
        return second
    if not (row.cron_expr or row.run_at is not None or row.interval_seconds is not None):
        answer = f"Nothing {verb} due at {evidence.then}: the schedule has no timetable, it runs only when triggered."
        return Because(verdict=Verdict.NOT_DUE, answer=answer)
    changed = _other_timetable(evidence, row)
    if changed is not None:
        return changed
    before, after = near(row, evidence.moment)
    around = [f"the fire before is at {evidence.time(before)}" if before is not None else ""]
    around += [f"the next at {evidence.time(after)}" if after is not None else ""]
    told = " and ".join(filter(None, around))
    answer = f"Nothing {verb} due at {evidence.then}" + (f": {told}." if told else ": its timetable has no such time.")
    return Because(verdict=Verdict.NOT_DUE, answer=answer)


def _other_timetable(evidence: Evidence, row: Schedule) -> Because | None:
    """The present timetable has the time, the one of then had not."""
    if row is evidence.schedule or due_in(evidence.schedule, evidence.moment) is None:
        return None
    at = evidence.moment.at
    change = next((one for one in evidence.revisions if one.at > at and due_in(one.schedule, evidence.moment)), None)
    if change is None:
        return None
    who, when = change.by or "somebody", evidence.time(change.at)
    fires = [one for one in near(row, evidence.moment) if one is not None]
    nearest = min(fires, key=lambda one: abs(one - at), default=None)
    fire = "" if nearest is None else f", with a fire at {evidence.time(nearest)}"
    return Because(
        verdict=Verdict.NOT_DUE,
        answer=f"Nothing was due at {evidence.then}: the timetable was another one{fire}; {who} changed it at {when}.",
        facts=(Fact(kind="changed", text=f"The present timetable took effect at {when}.", at=change.at, by=change.by),),
    )


def _second_time(evidence: Evidence, row: Schedule) -> Because | None:
    """The time came twice, and this is the second: a set time fires the first time only."""
    moment = evidence.moment
    if not moment.is_second or moment.twin is None or not row.cron_expr:
        return None
    first = due_in(row, replace(moment, at=moment.twin))
    if first is None:
        return None
    answer = (
        f"Clocks showed {moment.clock} twice on {moment.day} in {moment.zone.name}, because they went back: a set time "
        f"fires the first time only, so nothing was due the second time."
    )
    return Because(verdict=Verdict.NOT_DUE, answer=answer, facts=(Fact(kind="clock_change", text=answer, at=first),))


def _nonexistent(evidence: Evidence, row: Schedule) -> Because:
    moment = evidence.moment
    begin = f"{moment.clock} does not exist on {moment.day} in {moment.zone.name}, because clocks go forward"
    jump = evidence.time(moment.at)
    fact = Fact(kind="clock_change", text=f"Clocks go forward to {jump}.", at=moment.at)
    if not is_due_as_shown(row, moment):
        return Because(
            verdict=Verdict.DOES_NOT_EXIST, answer=f"{begin}, and the timetable does not name it.", facts=(fact,)
        )
    if not is_made_up(row, moment):
        kind = (
            "a schedule that repeats by the clock skips"
            if _is_wildcard(row)
            else "after such a long jump nothing makes up for"
        )
        answer = f"{begin}: {kind} the times that clocks skip."
        return Because(verdict=Verdict.DOES_NOT_EXIST, answer=answer, facts=(fact,))
    if evidence.record is None:
        happens = "it runs" if moment.at > evidence.now else "it was due"
        found = _without_record(evidence, ruling(evidence.books, moment.at), row, moment.at)
        answer = f"{begin}: {happens} right after the jump, at {jump}."
        if moment.at <= evidence.now:
            answer += f" {found.answer}"
        return replace(found, verdict=Verdict.DOES_NOT_EXIST, answer=answer, at=moment.at, facts=(fact, *found.facts))
    shifted = replace(evidence, moment=replace(moment, shown=_shown_after(evidence), is_skipped=False))
    found = of_record(shifted, evidence.record, moment.at)
    answer = f"{begin}: it was due right after the jump, at {jump}. {found.answer}"
    if evidence.record.started_at is not None:
        answer = f"{begin}: it ran at {jump} instead{_how(evidence)}."
    return replace(found, verdict=Verdict.DOES_NOT_EXIST, answer=answer, facts=(fact, *found.facts))


def _how(evidence: Evidence) -> str:
    status = evidence.record.status if evidence.record is not None else None
    words = {
        RunStatus.SUCCESS: " and succeeded",
        RunStatus.FAILED: " and failed",
        RunStatus.TIMEOUT: " and took too long",
    }
    return words.get(status, "") if status is not None else ""


def _shown_after(evidence: Evidence) -> int:
    """What clocks show right after the jump."""
    at = evidence.moment.at
    return at + evidence.moment.zone.offset_at(at // 1_000) * 1_000


def _is_wildcard(row: Schedule) -> bool:
    return Cron.parse(row.cron_expr or "").kind is CronKind.WILDCARD


def _circumstances(evidence: Evidence, found: Because) -> Iterator[Fact]:
    """What is worth knowing besides, whatever the answer is."""
    moment = evidence.moment
    if moment.twin is not None and found.at is not None and not any(f.kind == "clock_change" for f in found.facts):
        which = f"this is the {'second' if moment.is_second else 'first'} time"
        yield Fact(
            kind="clock_change",
            text=f"Clocks showed {moment.clock} twice on {moment.day}, because they went back; {which}.",
            at=moment.twin,
        )
    for run in evidence.later:
        by = run.trigger_note.by if run.trigger_note else None
        word = (
            "It was run again" + (f" by {by}" if by else "") if run.cause is Cause.MANUAL else "It was made up for by"
        )
        text = (
            f"{word}: {run.status}."
            if run.cause is Cause.MANUAL
            else f"{word} the run of {evidence.time(run.fire_at)}."
        )
        kind = "retried" if run.cause is Cause.MANUAL else "made_up"
        yield Fact(kind=kind, text=text, at=run.started_at, by=by, run_id=run.id)
    for run in evidence.others:
        by = run.trigger_note.by if run.trigger_note else None
        who = f" by {by}" if by else ""
        word = "A backfill ran it" if run.cause is Cause.BACKFILL else f"It was triggered{who}"
        yield Fact(
            kind=run.cause.value, text=f"{word} for that time: {run.status}.", at=run.started_at, by=by, run_id=run.id
        )
