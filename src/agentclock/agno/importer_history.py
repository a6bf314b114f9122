"""agno's history in our shape: it keeps a row for each attempt, we keep a run for each fire with its attempts.

agno stores neither the fire time nor which attempts belong together, so both are read off: a fire is when its first
attempt began, and attempt n + 1 follows attempt n of the same schedule that had ended before it.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from agentclock.agno.importer_source import Row
from agentclock.core.ids import uuid7
from agentclock.core.model import SECOND, Attempt, Cause, Instant, Run, RunStatus, Schedule

#: How much longer than its timeout agno may take to write an attempt's end, or to begin the next one.
_SLACK_MS: Final = 60 * SECOND
_BEARER: Final = re.compile(r"(bearer\s+)[^\s\"',}\]]+", re.IGNORECASE)

_ENDS: Final = {
    "success": RunStatus.SUCCESS,
    "failed": RunStatus.FAILED,
    "timeout": RunStatus.TIMEOUT,
    "cancelled": RunStatus.CANCELLED,
}
_UNKNOWN_END: Final = {
    "running": "agno never wrote how this ended: its process had stopped",
    "paused": "it waited for a human when agno last looked; AgentOS knows what became of it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What became of the rows of one schedule. `unfinished`: runs that may still go on, left for another import;
    `unreadable`: rows without a time or an attempt number."""

    runs: tuple[Run, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    unfinished: int = 0
    waiting_for_humans: int = 0
    too_old: int = 0
    unreadable: int = 0


def read_history(schedule: Schedule, rows: Sequence[Row], *, now: Instant, kept_since: Instant | None) -> History:
    """`rows` of one schedule, oldest first; runs that fired before `kept_since` would be pruned and are left out."""
    readable = [row for row in rows if _began_at(row) is not None and isinstance(row.get("attempt"), int)]
    groups = _grouped(readable)
    recent = [group for group in groups if kept_since is None or _began(group[0]) >= kept_since]
    over = [group for group in recent if _is_over(schedule, group[-1], now)]
    runs = [(_run(schedule, group), group) for group in over]
    return History(
        runs=tuple(run for run, _ in runs),
        attempts=tuple(_attempt(run.id, row) for run, group in runs for row in group),
        unfinished=len(recent) - len(over),
        waiting_for_humans=sum(group[-1].get("status") == "paused" for group in over),
        too_old=len(groups) - len(recent),
        unreadable=len(rows) - len(readable),
    )


def _grouped(rows: Sequence[Row]) -> list[list[Row]]:
    """The attempts of each run. Executions of one schedule may overlap: agno starts a long one several times."""
    groups: list[list[Row]] = []
    #: By the number of the attempt they wait for.
    open_groups = defaultdict[int, list[list[Row]]](list)
    for row in rows:
        waiting = open_groups[row["attempt"]]
        before = [group for group in waiting if (_ended_at(group[-1]) or 0) <= _began(row)]
        if before:
            # Of several that could go on with this attempt, the one that ended last is the likeliest.
            group = max(before, key=lambda group: _ended_at(group[-1]) or 0)
            waiting.remove(group)
            group.append(row)
        else:
            groups.append(group := [row])
        if row.get("status") in ("failed", "timeout") and _ended_at(row) is not None:
            open_groups[row["attempt"] + 1].append(group)
    return groups


def _is_over(schedule: Schedule, last: Row, now: Instant) -> bool:
    """Whether nothing can follow `last`; a row that agno left `running` is over when its timeout has passed."""
    if last.get("status") == "running":
        return _began(last) + schedule.timeout_seconds * SECOND + _SLACK_MS < now
    is_last = last.get("status") in ("success", "paused", "cancelled") or last["attempt"] > schedule.retry.max_retries
    next_by = (_ended_at(last) or _began(last)) + schedule.retry.delay_seconds * SECOND + _SLACK_MS
    return is_last or next_by < now


def _run(schedule: Schedule, group: Sequence[Row]) -> Run:
    first, last = group[0], group[-1]
    fire_at = _began(first)
    status, error = _end(last)
    return Run(
        id=uuid7(fire_at, hashlib.blake2b(f"agno|{first['id']}".encode(), digest_size=10).digest()),
        schedule_id=schedule.id,
        user_id=schedule.user_id,
        # agno does not tell a trigger from a fire; without a timetable there are triggers only.
        cause=Cause.SCHEDULE if schedule.cron_expr else Cause.MANUAL,
        fire_at=fire_at,
        status=status,
        attempt=last["attempt"],
        created_at=fire_at,
        started_at=fire_at,
        completed_at=_ended_at(last),
        status_code=_whole(last.get("status_code")),
        agent_run_id=_text(last.get("run_id")),
        session_id=_text(last.get("session_id")),
        error=error,
        input=last.get("input"),
        output=last.get("output"),
    )


def _attempt(run_id: str, row: Row) -> Attempt:
    status, error = _end(row)
    return Attempt(
        run_id=run_id,
        number=row["attempt"],
        status=status,
        started_at=_began(row),
        completed_at=_ended_at(row),
        status_code=_whole(row.get("status_code")),
        agent_run_id=_text(row.get("run_id")),
        error=error,
    )


def _end(row: Row) -> tuple[RunStatus, str | None]:
    """How the attempt ended; agno keeps answers of targets whole, which may repeat the token it sent."""
    said = str(row.get("status"))
    error = _text(row.get("error"))
    clean = None if error is None else _BEARER.sub(r"\1***", error)
    if said in _ENDS:
        return _ENDS[said], clean
    return RunStatus.LOST, clean or _UNKNOWN_END.get(said, f"agno left it in the state {said!r}")


def _began_at(row: Row) -> Instant | None:
    seconds = row.get("triggered_at")
    seconds = row.get("created_at") if seconds is None else seconds
    return seconds * SECOND if isinstance(seconds, int) else None


def _began(row: Row) -> Instant:
    return _began_at(row) or 0


def _ended_at(row: Row) -> Instant | None:
    seconds = row.get("completed_at")
    return seconds * SECOND if isinstance(seconds, int) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
