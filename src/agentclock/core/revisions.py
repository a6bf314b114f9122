"""What a schedule was, version by version: who changed what when, and what was due meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agentclock.core.model import Instant, Schedule


class RevisionKind(StrEnum):
    """What made a revision. `found`: the schedule as it was met, made before revisions were kept or by older code."""

    CREATED = "created"
    CHANGED = "changed"
    DELETED = "deleted"
    FOUND = "found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A schedule as `version` left it.

    `at`: when that was written; `by`: the person or the part of agentclock who did, None: nobody said.
    `schedule` is the whole row then, `last_fire_at` and `run_count` included: what was accounted for before is
    `schedule.last_fire_at`. But a `found` one is the row as it was met, and `at` since when its timetable ruled.
    """

    version: int
    at: Instant
    by: str | None = None
    kind: RevisionKind
    schedule: Schedule

    @property
    def effective_from(self) -> Instant:
        """After this instant the timetable of this revision rules. Fires up to it are accounted for by the ones before,
        also where the clock was set back."""
        last = None if self.kind is RevisionKind.FOUND else self.schedule.last_fire_at
        return self.at if last is None else max(self.at, last)
