"""Long computing on the event loop, cut into pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, TypeVar

#: Schedules, or what is made of them, that are done before whoever else waits for the event loop has a turn.
AT_ONCE: Final = 50

Item = TypeVar("Item")


async def in_pieces(items: Iterable[Item]) -> list[Item]:
    """All that an iterator makes while it is asked."""
    made: list[Item] = []
    for item in items:
        made.append(item)
        if len(made) % AT_ONCE == 0:
            await asyncio.sleep(0)
    return made
