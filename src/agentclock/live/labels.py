"""What is known of schedules by their ids: names for those who read of their runs."""

from __future__ import annotations

from collections.abc import Collection, Set

from agentclock.live.items import Label
from agentclock.ports import ScheduleFilter, Store


class Labels:
    """The newest `limit` that were learnt."""

    def __init__(self, store: Store, limit: int) -> None:
        self._store = store
        self._limit = limit
        self._known: dict[str, Label] = {}

    def get(self, schedule_id: str) -> Label | None:
        """None: it is not known, or there was no such schedule when it was asked for."""
        return self._known.get(schedule_id)

    def put(self, schedule_id: str, label: Label) -> None:
        self._known[schedule_id] = label
        while len(self._known) > self._limit:
            del self._known[next(iter(self._known))]

    async def learn(self, schedule_ids: Set[str]) -> None:
        """Asks for those that are not known yet, at once. Raises StoreUnavailable."""
        for schedule_id, label in (await labels_of(self._store, schedule_ids - self._known.keys())).items():
            self.put(schedule_id, label)


async def labels_of(store: Store, schedule_ids: Collection[str]) -> dict[str, Label]:
    """Of those that exist, as they are now. Raises StoreUnavailable."""
    if not schedule_ids:
        return {}
    briefs = await store.briefs(ScheduleFilter(ids=tuple(sorted(schedule_ids))), len(schedule_ids))
    return {brief.id: Label(name=brief.name, jitter_seconds=brief.jitter_seconds) for brief in briefs}
