"""Where a schedule comes from, as `Schedule.provenance` keeps it.

{"via": "tools",                        an agent made it
 "schedule_id": ..., "run_id": ...,     the run of ours that the agent was in, which knows AgentOS's id of it
 "changed": {...},                      the same, for the latest change by an agent
 "created_by_run_id": ..., "target_id": ..., ...}     what agno's control planes stamp, under agno's names
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agentclock.agno.guard_rails import Author
from agentclock.agno.schedule_rows import PROVENANCE_COLUMNS, Row, provenance_of
from agentclock.core.errors import CorruptRow
from agentclock.core.model import Json, Schedule
from agentclock.ports import Store


def noted_creation(author: Author, data: Row) -> Json:
    """The provenance of a schedule that agno writes as `data`. None: nothing is known."""
    stamps = {column: data[column] for column in PROVENANCE_COLUMNS if data.get(column) is not None}
    return {**_signature(author), **stamps} or None


def noted_change(schedule: Schedule, author: Author) -> Schedule:
    if not author.is_agent:
        return schedule
    return replace(schedule, provenance={**provenance_of(schedule), "changed": _signature(author)})


async def name_of(author: Author, user_id: str | None, store: Store) -> str:
    """Whom revisions name: the agent, by the component that its run calls, else the user, else agno."""
    if not author.is_agent:
        return user_id or "agno"
    if author.origin is None:
        return "agent" if user_id is None else f"agent for {user_id}"
    try:
        schedule = await store.get_schedule(author.origin.schedule_id)
    except CorruptRow:
        schedule = None
    component = None if schedule is None else schedule.target.component
    named = "agent" if component is None else f"{component[0]} {component[1]}"
    return f"{named} in run {author.origin.run_id}"


def stamped(schedule: Schedule, stamps: Mapping[str, Any]) -> Schedule:
    """With what a control plane says; None takes a stamp away."""
    known = {**provenance_of(schedule), **{name: stamps[name] for name in PROVENANCE_COLUMNS if name in stamps}}
    kept = {name: value for name, value in known.items() if value is not None}
    return replace(schedule, managed_by=stamps.get("managed_by", schedule.managed_by), provenance=kept or None)


def _signature(author: Author) -> dict[str, Any]:
    if not author.is_agent:
        return {}
    origin = author.origin
    inside = {} if origin is None else {"schedule_id": origin.schedule_id, "run_id": origin.run_id}
    return {"via": "tools", **inside}
