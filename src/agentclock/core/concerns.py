"""What needs somebody's attention, and how urgently."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, TypeVar

from agentclock.core.figures import UNSUCCESSFUL, Timed, duration_ms, percentile
from agentclock.core.model import SECOND, Instant, RunStatus

#: A run is long if it takes so many times as long as nearly all before it, and at least so long.
LONG_FACTOR: Final = 3
LONG_SECONDS: Final = 60
#: From fewer runs that went well nobody can tell how long one takes.
LEAST_KNOWN_RUNS: Final = 5
#: So many failures in a row are no accident.
URGENT_FAILURES: Final = 3
#: A question that is answered for people within this time is urgent.
URGENT_APPROVAL_SECONDS: Final = 3_600


class ConcernKind(StrEnum):
    """In the order of their weight, where they are equally urgent."""

    NO_WORKER = "no_worker"
    OVERDUE = "overdue"
    FAILING = "failing"
    PAUSED = "paused"
    DISABLED = "disabled"
    LOST = "lost"
    MISSED = "missed"
    LONG_RUNNING = "long_running"


class Severity(StrEnum):
    URGENT = "urgent"
    WARNING = "warning"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """`since`: when it began; `count`: of runs or fires, as the title says. `schedule_id` None: it concerns all."""

    kind: ConcernKind
    severity: Severity
    title: str
    since: Instant | None = None
    count: int = 1
    schedule_id: str | None = None
    schedule_name: str | None = None
    run_id: str | None = None
    hint: str | None = None


class Ended(Timed, Protocol):
    @property
    def run_id(self) -> str: ...


Mark = TypeVar("Mark", bound=Ended)

_KINDS: Final = tuple(ConcernKind)
_SEVERITIES: Final = tuple(Severity)


def most_urgent_first(concerns: Iterable[Concern]) -> list[Concern]:
    """What began last comes first among equals."""

    def weight(concern: Concern) -> tuple[int, int, int]:
        since = 0 if concern.since is None else concern.since
        return (_SEVERITIES.index(concern.severity), _KINDS.index(concern.kind), -since)

    return sorted(concerns, key=weight)


def failures_in_a_row(marks: Sequence[Mark]) -> Sequence[Mark]:
    """The newest runs that failed, up to the newest one that went well. `marks`: newest first. Runs that are not over,
    that somebody cancelled or that were never made tell nothing."""
    row: list[Mark] = []
    for mark in marks:
        if mark.status is RunStatus.SUCCESS:
            break
        if mark.status in UNSUCCESSFUL:
            row.append(mark)
    return row


def usual_ms(marks: Iterable[Ended]) -> int | None:
    """How long runs take that go well (95 % of them at most). None: there are too few to tell."""
    known = sorted(
        took for mark in marks if mark.status is RunStatus.SUCCESS and (took := duration_ms(mark)) is not None
    )
    return percentile(known, 95) if len(known) >= LEAST_KNOWN_RUNS else None


def is_long(running_ms: int, usual: int) -> bool:
    return running_ms >= LONG_SECONDS * SECOND and running_ms > LONG_FACTOR * usual


def length_text(length_ms: int) -> str:
    """In the two largest units: "2 h 5 min"."""
    seconds = max(0, length_ms) // SECOND
    parts = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"
