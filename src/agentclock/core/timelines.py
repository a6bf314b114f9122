"""The time that is shown: its bins, the fires that are still to come, and where clocks change."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from agentclock.core.cron import CronError
from agentclock.core.model import SECOND, Instant
from agentclock.core.timetable import Timed, timetable_of
from agentclock.core.zones import Zone, ZoneError

MINUTE_MS: Final = 60 * SECOND


class Planned(Timed, Protocol):
    """A schedule, as far as its next fires go."""

    @property
    def name(self) -> str: ...
    @property
    def enabled(self) -> bool: ...
    @property
    def start_at(self) -> Instant | None: ...
    @property
    def end_at(self) -> Instant | None: ...
    @property
    def max_runs(self) -> int | None: ...
    @property
    def run_count(self) -> int: ...
    @property
    def next_fire_at(self) -> Instant | None: ...


Kind = TypeVar("Kind", bound=Planned)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """`since` <= t < `until` in `bins` bins of equal length, counted from 0."""

    since: Instant
    until: Instant
    bins: int

    @property
    def bin_seconds(self) -> float:
        return (self.until - self.since) / self.bins / SECOND

    def numbers(self, fires: Iterable[Instant]) -> list[int]:
        """In which bin each of them is; all lie within the grid."""
        since, bins, length = self.since, self.bins, self.until - self.since
        return [(at - since) * bins // length for at in fires]


@dataclass(frozen=True, slots=True, kw_only=True)
class Busiest:
    """The minute that begins `at`, with the most fires to come. `names`: of some of the schedules."""

    at: Instant
    fires: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """`bins`: the fires to come. `is_complete` False: there are more than were looked at."""

    bins: tuple[int, ...]
    busiest: Busiest | None
    is_complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Seam:
    """A clock change of a zone."""

    timezone: str
    at: Instant
    text: str


def planned_fires(schedule: Planned, since: Instant, until: Instant, limit: int) -> list[Instant]:
    """The first `limit` fires with since <= t < until that are not planned yet, as things stand: none for a schedule
    that is disabled or cannot be read. What is overdue is among them."""
    first = schedule.next_fire_at
    if not schedule.enabled or first is None or first >= until or limit <= 0:
        return []
    left = None if schedule.max_runs is None else schedule.max_runs - schedule.run_count
    last = until - 1 if schedule.end_at is None else min(until - 1, schedule.end_at)
    # The first one may have been asked for, and come before all others.
    after = first if schedule.start_at is None else max(first, schedule.start_at - 1)
    try:
        timetable = timetable_of(schedule)
        if first < since:
            left = None if left is None else left - 1 - timetable.count(after, since - 1)
            found = timetable.between(max(after, since - 1), last, limit)
        else:
            found = [first, *timetable.between(after, last, limit - 1)]
    except (CronError, ZoneError):
        return []
    return found if left is None else found[: max(0, left)]


def forecast(schedules: Iterable[Kind], grid: Grid, *, most_fires: int, most_names: int = 5) -> Forecast:
    """The fires to come of all of them, each distinct timetable computed once, and `most_fires` in all at most."""
    # By how many schedules share a timetable: to count fires one by one is much faster than to add numbers up.
    bins: defaultdict[int, Counter[int]] = defaultdict(Counter)
    minutes: defaultdict[int, Counter[int]] = defaultdict(Counter)
    groups: list[_Group] = []
    room, is_complete = most_fires, True
    for members in _alike(schedules):
        fires = planned_fires(members[0], grid.since, grid.until, room + 1)
        if len(fires) > room:
            is_complete = False
            break
        room -= len(fires)
        bins[len(members)].update(grid.numbers(fires))
        minutes[len(members)].update([at // MINUTE_MS for at in fires])
        groups.append(_Group(members, fires))
    in_bins = _added_up(bins)
    return Forecast(
        bins=tuple(in_bins.get(number, 0) for number in range(grid.bins)),
        busiest=_busiest(_added_up(minutes), groups, most_names),
        is_complete=is_complete,
    )


@dataclass(frozen=True, slots=True)
class _Group:
    """Schedules with one timetable, and their fires."""

    members: Sequence[Planned]
    fires: Sequence[Instant] = field(repr=False)

    def fires_in(self, minute: int) -> bool:
        place = bisect_left(self.fires, minute * MINUTE_MS)
        return place < len(self.fires) and self.fires[place] < (minute + 1) * MINUTE_MS


def _alike(schedules: Iterable[Kind]) -> Iterator[Sequence[Kind]]:
    """Those that fire at the same times, together."""
    groups: defaultdict[Hashable, list[Kind]] = defaultdict(list)
    for one in schedules:
        left = None if one.max_runs is None else one.max_runs - one.run_count
        anchor_at = one.created_at if one.anchor_at is None and one.interval_seconds is not None else one.anchor_at
        timing = (one.cron_expr, one.timezone, one.run_at, one.interval_seconds, anchor_at)
        groups[*timing, one.enabled, one.start_at, one.end_at, one.next_fire_at, left].append(one)
    yield from groups.values()


def _added_up(counts: Mapping[int, Counter[int]]) -> dict[int, int]:
    total: dict[int, int] = {}
    for weight, counter in counts.items():
        for number, count in counter.items():
            total[number] = total.get(number, 0) + count * weight
    return total


def _busiest(minutes: Mapping[int, int], groups: Sequence[_Group], most_names: int) -> Busiest | None:
    """Of several equally busy ones the first."""
    if not minutes:
        return None
    minute, fires = min(minutes.items(), key=lambda item: (-item[1], item[0]))
    names = sorted(one.name for group in groups if group.fires_in(minute) for one in group.members)
    return Busiest(at=minute * MINUTE_MS, fires=fires, names=tuple(names[:most_names]))


def seams(zones: Iterable[str], since: Instant, until: Instant, limit: int) -> list[Seam]:
    """The first `limit` clock changes of these zones with since <= t < until, in order. Unknown zones have none."""
    found: list[Seam] = []
    for name in sorted(set(zones)):
        try:
            zone = Zone.load(name)
        except ZoneError:
            continue
        change = zone.next_change((since - 1) // SECOND)
        of_zone = 0
        while change is not None and change[0] * SECOND < until and of_zone < limit:
            at, before, after = change
            if at * SECOND >= since:
                found.append(Seam(timezone=zone.name, at=at * SECOND, text=_change_text(at, before, after)))
                of_zone += 1
            change = zone.next_change(at)
    return sorted(found, key=lambda seam: (seam.at, seam.timezone))[:limit]


def _change_text(at: int, before: int, after: int) -> str:
    if after == before:
        return "the zone's name changes, its clocks do not"
    way = "forward" if after > before else "back"
    return f"clocks go {way} from {_clock(at + before)} to {_clock(at + after)}"


def _clock(shown: int) -> str:
    minute_of_day = shown // 60 % 1440
    return f"{minute_of_day // 60:02}:{minute_of_day % 60:02}"
