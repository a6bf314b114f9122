"""Which schedules and which time are meant: what every list that is made of them takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, TypeAlias

from fastapi import Depends, Query

from agentclock.api.auth import Caller
from agentclock.ports import ScheduleFilter

From: TypeAlias = Annotated[
    str | None,
    Query(alias="from", max_length=64, description="First fire time: ISO 8601 (UTC without an offset), epoch seconds."),
]
To: TypeAlias = Annotated[
    str | None, Query(alias="to", max_length=64, description="The first fire time that does not count, likewise.")
]


async def _narrowing(
    enabled: Annotated[bool | None, Query(description="Only schedules that fire, or only those that do not.")] = None,
    name: Annotated[str | None, Query(max_length=255, description="Part of the name, in any case.")] = None,
    q: Annotated[
        str | None,
        Query(max_length=255, description="Part of name, description, endpoint or a tag, in any case."),
    ] = None,
    tag: Annotated[str | None, Query(max_length=64, description="A tag, exactly.")] = None,
    target: Annotated[
        str | None, Query(max_length=512, description="Target name, agent, team or workflow id, or endpoint.")
    ] = None,
    owner: Annotated[
        str | None, Query(max_length=255, description="Whose schedules; others than your own are for admins.")
    ] = None,
    managed_by: Annotated[
        str | None, Query(max_length=255, description="Who keeps them, exactly: `apply:<manager>`.")
    ] = None,
) -> ScheduleFilter:
    return ScheduleFilter(
        user_id=owner or None,
        enabled=enabled,
        name_contains=name or None,
        text=q or None,
        tag=tag or None,
        target=target or None,
        managed_by=managed_by or None,
    )


#: What was asked for; not yet confined to what the caller may see.
Asked: TypeAlias = Annotated[ScheduleFilter, Depends(_narrowing)]


def confined(asked: ScheduleFilter, caller: Caller) -> ScheduleFilter:
    """To the caller's own rows. Whoever asks for those of somebody else finds none."""
    if caller.user_id is None:
        return asked
    ids = asked.ids if asked.user_id in (None, caller.user_id) else ()
    return replace(asked, user_id=caller.user_id, ids=ids)
