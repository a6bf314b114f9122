"""How many schedules an owner may have. Shared by both stores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from agentclock.core.errors import LimitReached
from agentclock.core.model import Schedule
from agentclock.store.rows import clean_text


def owned(schedules: Iterable[Schedule]) -> Counter[str]:
    """How many of them each owner has; those without an owner are nobody's."""
    return Counter(clean_text(schedule.user_id) or "" for schedule in schedules if schedule.user_id is not None)


def refuse_if_over(user_id: str, count: int, limit: int) -> None:
    """Raises LimitReached if an owner would have `count` schedules."""
    if count > limit:
        raise LimitReached(
            f"User {user_id!r} would have more than {limit:,} schedules: delete some, or let the setting "
            "schedules_per_owner be raised",
            limit,
        )
