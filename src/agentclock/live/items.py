"""What a viewer gets to see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from agentclock.core.model import Run, Schedule
from agentclock.ports import LoggedEvent
from agentclock.runs import RunDetail


@dataclass(frozen=True, slots=True)
class Logged:
    """Events of a run, in order, each seen once."""

    events: tuple[LoggedEvent, ...]


@dataclass(frozen=True, slots=True)
class State:
    """How a run stands now."""

    detail: RunDetail


@dataclass(frozen=True, slots=True)
class Over:
    """The run as it ended; nothing follows. `seq`: one more than its last event's."""

    detail: RunDetail
    seq: int


@dataclass(frozen=True, slots=True)
class Cut:
    """So many events are no longer kept; the next one is number `from_seq`."""

    events_missing: int
    from_seq: int


@dataclass(frozen=True, slots=True)
class Gone:
    """What is watched was deleted; nothing follows."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """Nothing new; the line is alive."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Nothing can be seen at the moment, and why. What happens meanwhile is shown later."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What is said of a run's schedule with the run."""

    name: str
    jitter_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A run or a schedule as it became; `schedule` None in a change without `run`: it was deleted.

    `label`: of the run's schedule, as it was then; None: the schedule is gone. `user_id` owns it. `is_known_owner`
    False: nobody knows (any more) whose it was.
    """

    seq: int
    schedule_id: str
    user_id: str | None
    is_known_owner: bool = True
    run: Run | None = None
    label: Label | None = None
    schedule: Schedule | None = None

    @property
    def subject(self) -> str:
        """What it is a change of."""
        return self.schedule_id if self.run is None else self.run.id

    def is_like(self, other: Change) -> bool:
        """Whether it shows the same."""
        return (self.run, self.schedule) == (other.run, other.schedule)

    def is_for(self, user_id: str | None) -> bool:
        """Whether somebody confined to the rows of this owner (None: not confined) may see it."""
        return user_id is None or (self.is_known_owner and self.user_id == user_id)


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes in order, of each run and schedule the newest only. `epoch:seq` of each is where to go on after it."""

    changes: tuple[Change, ...]
    epoch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """The runs that are active now, with the labels of their schedules. `is_again`: the viewer asked to go on from
    where nobody can go on.

    `total_count` counts those left out as well.
    """

    runs: tuple[Run, ...]
    labels: Mapping[str, Label]
    total_count: int
    epoch: str
    cursor: str
    is_again: bool


Item: TypeAlias = Logged | State | Over | Cut | Gone | Pulse | Trouble
FeedItem: TypeAlias = Changes | Reset | Gone | Pulse | Trouble
