"""The event streams: one run, or all that one may see."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus
from typing import Annotated, Final, TypeAlias, assert_never

from fastapi import Header, Query, Response

from agentclock.api.auth import Caller, TheCaller
from agentclock.api.limits import Seats
from agentclock.api.parameters import RunId, ScheduleId
from agentclock.api.run_schemas import listed_run_out, run_out
from agentclock.api.streams import PULSE, EventStream, chunks, frame
from agentclock.api.values import iso_or_null, presentable
from agentclock.core.errors import InvalidField
from agentclock.core.instants import iso_utc
from agentclock.core.model import Json, Run
from agentclock.live import (
    Change,
    Changes,
    Cut,
    FeedItem,
    Gone,
    Hub,
    Item,
    Label,
    Logged,
    Over,
    Pulse,
    Reset,
    State,
    Trouble,
)
from agentclock.ports import LoggedEvent
from agentclock.runs import RunDetail, Runs

LastEventId: TypeAlias = Annotated[
    str | None, Header(max_length=64, description="The id of the last event seen: go on after it.")
]
LastEventIdToo: TypeAlias = Annotated[
    str | None, Query(alias="last_event_id", max_length=64, description="As the header, which counts for more.")
]

#: Names of our own events, and those that clients' libraries keep for themselves: no agent's event is sent as these.
_TAKEN: Final = frozenset({"status", "end", "trouble", "snapshot", "reset", "run", "schedule", "error", "open"})
_OTHER: Final = "agent_event"
#: Left out where runs are many.
_LARGE: Final = {"payload", "input", "output", "requirements", "approval", "metrics", "usage", "attempts"}


class StreamRoutes:
    def __init__(self, runs: Runs, hub: Hub, streams_per_client: int | None = None) -> None:
        self._runs = runs
        self._hub = hub
        self._seats = Seats(streams_per_client)

    async def watch_schedule_run(
        self,
        schedule_id: ScheduleId,
        run_id: RunId,
        caller: TheCaller,
        last_event_id: LastEventId = None,
        last_event_id_too: LastEventIdToo = None,
    ) -> Response:
        """Watch a run as server-sent events: `status` (the run as it stands, at first and at each change of its
        state), its agent's events under their own names, and `end` with the final run. Coming back with the id of the
        last event, one misses none and sees none twice. `cut`: the oldest events are no longer kept. `trouble`: the
        database is away; stay. 204: all was seen."""
        detail = await self._runs.get(schedule_id, run_id, user_id=caller.user_id)
        after_seq = _read_seq(last_event_id or last_event_id_too)
        if after_seq is not None and detail.run.status.is_final and after_seq > await self._hub.last_seq(run_id):
            return Response(status_code=HTTPStatus.NO_CONTENT)
        return self._stream(caller, _of_run(self._hub.follow(run_id, after_seq)))

    async def watch_schedules(
        self, caller: TheCaller, last_event_id: LastEventId = None, last_event_id_too: LastEventIdToo = None
    ) -> Response:
        """Watch all schedules and their runs as server-sent events: `snapshot` (the active runs) at first, then `run`
        and `schedule` for each that changes, the newest state only. `reset` before another snapshot: one was away for
        too long, or came to another process. `trouble`: the database is away; stay."""
        return self._stream(
            caller, _of_all(self._hub.changes(caller.user_id, last_event_id or last_event_id_too or None))
        )

    def _stream(self, caller: Caller, content: AsyncGenerator[bytes, None]) -> EventStream:
        """Raises TooManyRequests, Unavailable."""
        leave = self._seats.take(caller.source)
        stream = EventStream(content, leave)
        self._hub.check_room()
        return stream


def _read_seq(text: str | None) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 15:
        raise InvalidField("last_event_id", "is no id of this stream: leave it out to see all events")
    return int(text)


async def _of_run(items: AsyncGenerator[Item, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(items):
        async for item in items:
            match item:
                case Logged(events):
                    for piece in chunks(_logged(event) for event in events):
                        yield piece
                case State(detail):
                    yield frame("status", run_out(detail).model_dump(mode="json"))
                case Over(detail, seq):
                    yield frame("end", run_out(detail).model_dump(mode="json"), seq)
                case Cut(events_missing, from_seq):
                    yield frame("cut", {"events_missing": events_missing, "from": from_seq})
                case Trouble(reason):
                    yield frame("trouble", {"detail": reason})
                case Pulse():
                    yield PULSE
                case Gone():
                    return
                case never:
                    assert_never(never)


def _logged(event: LoggedEvent) -> bytes:
    data = {
        "seq": event.seq,
        "attempt": event.attempt,
        "at": iso_utc(event.at),
        "type": event.type,
        "data": presentable(event.data),
    }
    return frame(_OTHER if event.type in _TAKEN else event.type, data, event.seq)


async def _of_all(items: AsyncGenerator[FeedItem, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(items):
        async for item in items:
            match item:
                case Changes(changes, epoch):
                    for piece in chunks(_changed(change, epoch) for change in changes):
                        yield piece
                case Reset():
                    if item.is_again:
                        yield frame("reset", {"epoch": item.epoch})
                    active = [_run(run, item.labels.get(run.schedule_id)) for run in item.runs]
                    data = {"epoch": item.epoch, "runs": active, "total_count": item.total_count}
                    yield frame("snapshot", data, item.cursor)
                case Trouble(reason):
                    yield frame("trouble", {"detail": reason})
                case Pulse():
                    yield PULSE
                case Gone():
                    return
                case never:
                    assert_never(never)


def _changed(change: Change, epoch: str) -> bytes:
    event_id = f"{epoch}:{change.seq}"
    if change.run is not None:
        return frame("run", _run(change.run, change.label), event_id)
    data: Json = {"id": change.schedule_id, "change": "deleted"}
    if (schedule := change.schedule) is not None:
        data = {
            "id": schedule.id,
            "change": "changed",
            "user_id": schedule.user_id,
            "name": schedule.name,
            "enabled": schedule.enabled,
            "disabled_reason": schedule.disabled_reason,
            "next_fire_at": iso_or_null(schedule.next_fire_at),
            "version": schedule.version,
        }
    return frame("schedule", data, event_id)


def _run(run: Run, label: Label | None) -> Json:
    """Without what may be large."""
    detail = RunDetail(run=run)
    if label is not None:
        detail = RunDetail(run=run, schedule_name=label.name, jitter_seconds=label.jitter_seconds)
    return listed_run_out(detail).model_dump(mode="json", exclude=_LARGE)
