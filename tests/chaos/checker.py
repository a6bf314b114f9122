"""Compares what the targets saw with what the database says. Pure; knows agentclock only by what it promises.

Each rule yields what contradicts it; a run without any is good.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

from tests.chaos.due import Account, account
from tests.chaos.evidence import Call, Evidence, Row, agent_run_id
from tests.chaos.faults import DATABASE_AWAY

#: A process must try to reach a database that is away less often than this in any second.
CONNECTS_LIMIT: Final = 5
#: How long a fault that is over may still be the cause of something.
SLACK_MS: Final = 2_000
_FINAL: Final = frozenset({"success", "failed", "timeout", "cancelled", "lost", "skipped", "missed"})
_UNKNOWN: Final = frozenset({"lost", "timeout"})
_RETRIED: Final = frozenset({"failed", "timeout", "lost"})
_REPEATABLE: Final = frozenset({"GET", "PUT", "DELETE"})
#: Answers by which a target says that it did nothing: a request whose earlier end is unknown may keep its key.
_NOTHING_DONE: Final = frozenset({408, 425, 429, 503})


@dataclass(frozen=True, slots=True)
class Violation:
    rule: str
    what: str


class Books:
    """The evidence by what it is looked up by."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.runs = {row["id"]: row for row in evidence.runs}
        self.schedules = {row["id"]: row for row in evidence.schedules}
        self.attempts = _grouped(evidence.attempts, "run_id")
        self.calls: dict[tuple[str, int], list[Call]] = defaultdict(list)
        for call in evidence.calls:
            self.calls[call.run, call.attempt].append(call)
        self.starts = Counter(start.agent_run for start in evidence.starts)

    @cached_property
    def accounts(self) -> dict[str, Account]:
        """By schedule, which of its fires have rows."""
        runs, revisions = _grouped(self.evidence.runs, "schedule_id"), _grouped(self.evidence.revisions, "schedule_id")
        return {
            schedule_id: account(row, revisions.get(schedule_id, ()), runs.get(schedule_id, ()))
            for schedule_id, row in self.schedules.items()
        }

    def is_agent(self, run: Row) -> bool:
        return bool(self.schedules[run["schedule_id"]]["endpoint"].startswith("/agents/"))

    def tried(self, run_id: str) -> list[Row]:
        return sorted(self.attempts.get(run_id, ()), key=lambda row: int(row["number"]))


def check(evidence: Evidence) -> list[Violation]:
    """Every contradiction, in the order of the rules."""
    books = Books(evidence)
    return [Violation(name, what) for name, rule in RULES.items() for what in rule(books)]


def _every_fire_has_one_row(books: Books) -> Iterator[str]:
    for schedule_id, found in books.accounts.items():
        name = books.schedules[schedule_id]["name"]
        yield from (f"{name}: the fire of {at} is lost" for at in found.lost)
        yield from (f"{name}: the fire of {at} is there more than once" for at in found.doubled)
        yield from (f"{name}: a row stands for {at}, which was not due" for at in found.stray)
        yield from (f"{name}: {text}" for text in found.miscounted)


def _accounting_adds_up(books: Books) -> Iterator[str]:
    for schedule_id, found in books.accounts.items():
        accounted = found.runs + found.skipped + found.missed
        if found.due != accounted:
            yield f"{books.schedules[schedule_id]['name']}: {found.due} fires due, {accounted} accounted for"


def _calls_have_a_row(books: Books) -> Iterator[str]:
    for (run, attempt), calls in books.calls.items():
        if run not in books.runs:
            yield f"{calls[0].path}: called for run {run}, which does not exist"
        elif attempt > books.runs[run]["attempt"]:
            yield f"run {run}: called for attempt {attempt} of {books.runs[run]['attempt']}"


def _one_call_an_attempt(books: Books) -> Iterator[str]:
    for (run, attempt), calls in books.calls.items():
        if len(calls) > 1:
            yield f"run {run}, attempt {attempt}: {len(calls)} calls of {calls[0].method} {calls[0].path}"


def _keys_tell_repetitions(books: Books) -> Iterator[str]:
    """The key stays while nobody knows what became of a request, and is new once it is known to have failed."""
    for run_id, run in books.runs.items():
        if books.is_agent(run):
            allowed = {attempt: {attempt} for attempt in range(1, run["attempt"] + 1)}
        else:
            allowed = _key_numbers(books.tried(run_id))
        for attempt, numbers in allowed.items():
            for call in books.calls.get((run_id, attempt), ()):
                if call.key not in {f"{run_id}.{number}" for number in numbers}:
                    yield f"run {run_id}, attempt {attempt}: key {call.key}, expected one of {sorted(numbers)}"


def _key_numbers(attempts: Iterable[Row]) -> dict[int, set[int]]:
    """By attempt, the numbers that its key may end in."""
    allowed: dict[int, set[int]] = {}
    undecided: set[int] = set()
    may_be_new = True
    for row in attempts:
        own = int(row["number"])
        allowed[own] = undecided | {own} if may_be_new else undecided
        if row["status"] in _UNKNOWN:
            undecided, may_be_new = allowed[own], False
        elif undecided and row["status_code"] in (*_NOTHING_DONE, None):
            may_be_new = True
        else:
            undecided, may_be_new = set(), True
    return allowed


def _agents_start_once_an_attempt(books: Books) -> Iterator[str]:
    known = {
        agent_run_id(run_id, attempt): (run_id, attempt)
        for run_id, run in books.runs.items()
        for attempt in range(1, run["attempt"] + 1)
    }
    for agent_run, times in books.starts.items():
        if agent_run not in known:
            yield f"agent run {agent_run} belongs to no attempt on record"
        elif times > 1:
            run_id, attempt = known[agent_run]
            yield f"run {run_id}, attempt {attempt}: its agent started {times} times"


def _attempts_were_asked_for(books: Books) -> Iterator[str]:
    """Numbered from 1 without gaps; each but the first follows one that the schedule's policy lets be made again."""
    for run_id, run in books.runs.items():
        tried = books.tried(run_id)
        if [row["number"] for row in tried] != list(range(1, run["attempt"] + 1)):
            yield f"run {run_id}: attempts {[row['number'] for row in tried]}, the run says {run['attempt']}"
        schedule = books.schedules[run["schedule_id"]]
        for earlier, later in pairwise(tried):
            if earlier["status"] not in _RETRIED or earlier["number"] > schedule["max_retries"]:
                yield f"run {run_id}: attempt {later['number']} after {earlier['number']}, which is {earlier['status']}"
            elif earlier["status"] == "lost" and not _retries_lost(schedule):
                yield f"run {run_id}: attempt {later['number']} after a lost one, though its schedule says no"


def _retries_lost(schedule: Row) -> bool:
    if schedule["on_lost"] is not None:
        return bool(schedule["on_lost"] == "retry")
    return schedule["method"] in _REPEATABLE


def _everything_has_ended(books: Books) -> Iterator[str]:
    for run_id, run in books.runs.items():
        if run["status"] not in _FINAL:
            yield f"run {run_id} is {run['status']}, attempt {run['attempt']}, worker {run['worker']}"
            continue
        for row in books.tried(run_id):
            if row["status"] not in _FINAL:
                yield f"run {run_id} is {run['status']}, its attempt {row['number']} {row['status']}"


def _ends_are_true(books: Books) -> Iterator[str]:
    """A success was answered, a refusal was given, and a run ends as its last attempt did."""
    for run_id, run in books.runs.items():
        tried = books.tried(run_id)
        if tried and run["status"] in _FINAL - {"cancelled"} and run["status"] != tried[-1]["status"]:
            yield f"run {run_id} is {run['status']}, its last attempt {tried[-1]['status']}"
        for row in tried:
            yield from _end_is_true(books, run, row)


def _end_is_true(books: Books, run: Row, attempt: Row) -> Iterator[str]:
    where = f"run {run['id']}, attempt {attempt['number']}"
    answers = [call.answer for call in books.calls.get((run["id"], attempt["number"]), ())]
    if books.is_agent(run):
        if attempt["status"] == "success" and not books.starts[agent_run_id(run["id"], attempt["number"])]:
            yield f"{where} is a success, but its agent never started"
    elif attempt["status"] == "success" and "200" not in answers:
        yield f"{where} is a success, but the target's answers were {answers}"
    elif attempt["status"] == "failed" and (code := attempt["status_code"]) and {str(code), "gone"}.isdisjoint(answers):
        yield f"{where} failed with {code}, but the target's answers were {answers}"


def _losses_have_a_cause(books: Books) -> Iterator[str]:
    """Nobody knows how an attempt ended only where something went wrong while it lasted."""
    for row in books.evidence.attempts:
        if row["status"] != "lost":
            continue
        answers = [call.answer for call in books.calls.get((row["run_id"], row["number"]), ())]
        if not any(answer is None or not answer.isdigit() for answer in answers) and not any(
            fault.began_at <= row["completed_at"] and row["started_at"] <= fault.ended_at + SLACK_MS
            for fault in books.evidence.disturbances
        ):
            yield f"run {row['run_id']}, attempt {row['number']} is lost for no reason: answers {answers}"


def _promises_are_kept(books: Books) -> Iterator[str]:
    versions = {(row["schedule_id"], row["version"]) for row in books.evidence.revisions}
    for promise in books.evidence.promises:
        schedule = books.schedules.get(promise["schedule"])
        if schedule is None:
            yield f"schedule {promise['schedule']} was confirmed and does not exist"
        elif promise["what"] == "triggered" and promise["run"] not in books.runs:
            yield f"a trigger of {schedule['name']} was confirmed, its run {promise['run']} does not exist"
        elif promise["what"] == "changed" and (schedule["id"], promise["version"]) not in versions:
            yield f"version {promise['version']} of {schedule['name']} was confirmed and does not exist"


def _connects_are_few(books: Books) -> Iterator[str]:
    for worker, rate in connects_while_away(books.evidence).items():
        if rate >= CONNECTS_LIMIT:
            yield f"worker {worker} tried {rate} times in a second to reach a database that was away"


def connects_while_away(evidence: Evidence) -> dict[int, int]:
    """By worker, the most attempts to connect in any second of those in which there was no database to reach."""
    most: dict[int, int] = {}
    for worker, connects in evidence.connects.items():
        for fault in evidence.disturbances:
            if fault.kind in DATABASE_AWAY and fault.worker in (0, worker):
                within = [at for at in connects if fault.began_at <= at <= fault.ended_at]
                most[worker] = max(most.get(worker, 0), busiest_second(within))
    return most


def busiest_second(instants: list[int]) -> int:
    most = first = 0
    for last, at in enumerate(instants):
        while at - instants[first] >= 1000:
            first += 1
        most = max(most, last - first + 1)
    return most


def _processes_are_well(books: Books) -> Iterator[str]:
    yield from books.evidence.complaints


RULES: Final[Mapping[str, Callable[[Books], Iterator[str]]]] = {
    "every fire has one row": _every_fire_has_one_row,
    "the accounting adds up": _accounting_adds_up,
    "calls have a row": _calls_have_a_row,
    "one call an attempt": _one_call_an_attempt,
    "keys tell repetitions": _keys_tell_repetitions,
    "agents start once an attempt": _agents_start_once_an_attempt,
    "attempts were asked for": _attempts_were_asked_for,
    "everything has ended": _everything_has_ended,
    "ends are true": _ends_are_true,
    "losses have a cause": _losses_have_a_cause,
    "promises are kept": _promises_are_kept,
    "connects are few": _connects_are_few,
    "processes are well": _processes_are_well,
}


def _grouped(rows: Iterable[Row], by: str) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row[by]].append(row)
    return groups
