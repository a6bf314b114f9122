"""Which schedules have a label of their own: as many as there are places."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

#: Stands for all schedules without a place, and for one that is called so.
OTHER: Final = "other"
#: A schedule that did nothing for so long (a deleted one, in the end) makes room for another one.
IDLE_SECONDS: Final = 7 * 86_400.0


class Places:
    """First come, first served; what is left are `OTHER`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used_at: OrderedDict[str, float] = OrderedDict()

    def take(self, name: str, now: float) -> tuple[str, str | None]:
        """The label of this schedule, and whose place it took. `now`: monotonic seconds."""
        if name in self._used_at:
            self._used_at[name] = now
            self._used_at.move_to_end(name)
            return name, None
        given_up = None
        if len(self._used_at) >= self._limit:
            oldest = next(iter(self._used_at), None)
            if oldest is None or now - self._used_at[oldest] < IDLE_SECONDS:
                return OTHER, None
            given_up = oldest
            del self._used_at[oldest]
        self._used_at[name] = now
        return name, given_up
