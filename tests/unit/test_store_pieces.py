"""Long computing leaves turns for others."""

from __future__ import annotations

import asyncio

from agentclock.store.pieces import AT_ONCE, in_pieces


async def test_others_have_a_turn_while_it_is_computed() -> None:
    made: list[int] = []
    seen: list[int] = []

    def making(count: int) -> int:
        made.append(count)
        return count

    async def another() -> None:
        while len(made) < 3 * AT_ONCE:
            seen.append(len(made))
            await asyncio.sleep(0)

    other = asyncio.create_task(another())
    assert await in_pieces(map(making, range(3 * AT_ONCE))) == list(range(3 * AT_ONCE))
    await other
    assert seen == [AT_ONCE, 2 * AT_ONCE]


async def test_nothing_is_a_list_too() -> None:
    assert await in_pieces(()) == []
