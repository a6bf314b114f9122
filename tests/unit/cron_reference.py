"""Cron by brute force: the oracle of the property tests. Slow, plain, and shares no code with agentclock.

A daemon is simulated that wakes at every minute and follows the published rules of Debian cron for clocks
that jump. Offsets come from the standard library's `zoneinfo`, matching from sets of numbers.
"""

import calendar
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

RANGES = (range(60), range(24), range(1, 32), range(1, 13), range(8))
NAMES = {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name}
WEEKDAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
MINUTE = timedelta(minutes=1)


def numbers(text: str, field: int) -> set[int]:
    """The numbers a field's plain items stand for; extensions are left out."""
    known = NAMES if field == 3 else WEEKDAYS if field == 4 else {}
    found: set[int] = set()
    for item in text.lower().split(","):
        if "#" in item or (item != "jul" and item.endswith(("l", "w"))):
            continue
        body, _, step = item.partition("/")
        low, dash, high = body.partition("-")
        if body in {"*", "?"}:
            values = RANGES[field]
        else:
            first = known[low] if low in known else int(low)
            last = (known[high] if high in known else int(high)) if dash else first
            values = range(first, (RANGES[field][-1] if step and not dash else last) + 1)
        found.update(values[:: int(step or 1)])
    return {number % 7 for number in found} if field == 4 else found


class Reference:
    def __init__(self, expression: str) -> None:
        self.texts = expression.split()
        self.sets = [numbers(text, field) for field, text in enumerate(self.texts)]
        self.wildcard = any(text.startswith("*") for text in self.texts[:2])
        self.both_days = any(text[0] in "*?" for text in (self.texts[2], self.texts[4]))
        self.seen: dict[tuple[int, int, int], bool] = {}

    def matches(self, local: datetime) -> bool:
        minutes, hours, _, months, _ = self.sets
        if local.minute not in minutes or local.hour not in hours or local.month not in months:
            return False
        day = (local.year, local.month, local.day)
        if day not in self.seen:
            both = (self._day_of_month(local), self._day_of_week(local))
            self.seen[day] = all(both) if self.both_days else any(both)
        return self.seen[day]

    def _day_of_month(self, local: datetime) -> bool:
        length = calendar.monthrange(local.year, local.month)[1]
        for item in self.texts[2].upper().split(","):
            if item == "L" and local.day == length:
                return True
            if item == "LW" and local.day == self._nearest_weekday(local, length):
                return True
            near = int(item[:-1]) if item.endswith("W") and item != "LW" else length + 1
            if near <= length and local.day == self._nearest_weekday(local, near):
                return True
        return local.day in self.sets[2]

    @staticmethod
    def _nearest_weekday(local: datetime, day: int) -> int:
        """The weekday closest to a day without leaving the month."""
        workdays = [
            candidate
            for candidate in range(1, calendar.monthrange(local.year, local.month)[1] + 1)
            if calendar.weekday(local.year, local.month, candidate) < 5
        ]
        return min(workdays, key=lambda candidate: (abs(candidate - day), candidate > day))

    def _day_of_week(self, local: datetime) -> bool:
        weekday = (local.weekday() + 1) % 7
        last = local.day + 7 > calendar.monthrange(local.year, local.month)[1]
        for item in self.texts[4].lower().split(","):
            name, sharp, nth = item.partition("#")
            if sharp:
                if number_of(name) == weekday and (local.day - 1) // 7 + 1 == int(nth):
                    return True
            elif item.endswith("l") and last and number_of(item[:-1]) == weekday:
                return True
        return weekday in self.sets[4]

    def runs(self, zone: str, start: int, end: int) -> list[int]:
        """All starts in ``start < t <= end``, epoch seconds that are whole minutes.

        The daemon is started a day and a half before, so that it has settled.
        """
        info = ZoneInfo(zone)
        starts = set()
        at = (start // 60 - 2160) * 60
        virtual = local_time(at, info)
        while at + 60 <= end:
            at += 60
            clock = local_time(at, info)
            virtual, due = self._wake(virtual, clock)
            if due and at > start:
                starts.add(at)
        return sorted(starts)

    def _wake(self, virtual: datetime, clock: datetime) -> tuple[datetime, bool]:
        """One turn of the loop: the new virtual time, and whether the job starts."""
        ahead = (clock - virtual) // MINUTE
        if ahead == 1:
            return clock, self.matches(clock)
        if 1 < ahead <= 180:
            missed = [virtual + MINUTE * n for n in range(1, ahead + 1)]
            if self.wildcard and ahead > 5:
                missed = [clock]
            return clock, any(map(self.matches, missed))
        if -180 < ahead <= 0:
            return virtual, self.wildcard and self.matches(clock)
        return clock, self.matches(clock)


def number_of(weekday: str) -> int:
    return WEEKDAYS[weekday] if weekday in WEEKDAYS else int(weekday) % 7


def local_time(at: int, info: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(at, UTC).astimezone(info).replace(tzinfo=None)
