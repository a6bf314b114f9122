"""The use case of a trigger: one run now, outside the timetable, for a person or for an outside clock.

An outside clock repeats itself: the same `Idempotency-Key` means the same run, however often and wherever it is sent.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from agentclock.core.actors import Actor, name_of
from agentclock.core.errors import Conflict, EngineStopped, InvalidField, NotFound, ScheduleDisabled, TooOld
from agentclock.core.events import RunChanged
from agentclock.core.ids import uuid7
from agentclock.core.model import DAY_SECONDS, SECOND, Instant, Overlap, Run, Schedule, TriggerNote
from agentclock.core.planning import Plan, Situation, plan_trigger
from agentclock.core.storable import payload_fault, text_fault
from agentclock.core.triggers import PayloadMode, TriggerKey, is_too_old, merged
from agentclock.drafts import Payload, Whole, read_draft
from agentclock.ports import PageRequest, ScheduleFilter, Store
from agentclock.runs import RunDetail, RunReader
from agentclock.timing import read_time

#: How far ahead of ours an outside clock may be.
AHEAD_SECONDS: Final = 60
KEY_LENGTH: Final = 255
REASON_LENGTH: Final = 1024

#: Raises what keeps a schedule from being called as it is.
CallCheck: TypeAlias = Callable[[Schedule], None]


def _sound(text: str) -> str:
    if fault := text_fault(text):
        raise PydanticCustomError("text", f"{fault[0].upper()}{fault[1:]}")
    return text


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_NULL: Final = {"type": "null"}


Reason: TypeAlias = Annotated[
    str | None,
    Field(max_length=REASON_LENGTH, description="Why; shown with the run and in the audit log."),
    AfterValidator(lambda text: text if text is None else _sound(text)),
]


class TriggerDraft(BaseModel):
    """What a trigger may say about its run. All of it is optional, and so is the body itself."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"payload": {"message": "Only yesterday, please."}, "reason": "ticket 4711"}]},
    )

    payload: Annotated[Payload | None, Field(description="For this run only; see payload_mode.")] = None
    payload_mode: Annotated[
        PayloadMode,
        Field(description="`merge`: into the schedule's payload (RFC 7396: null removes); `replace`: instead of it."),
    ] = PayloadMode.MERGE
    fire_at: Annotated[
        Annotated[str, Field(min_length=1, max_length=64)] | None,
        BeforeValidator(_as_text),
        Field(
            description="The occurrence that the run is for, ISO 8601 (UTC without an offset) or epoch seconds; "
            "null: now.",
        ),
        WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1, "maxLength": 64}, {"type": "integer"}, _NULL]}),
        AfterValidator(lambda text: text if text is None else _sound(text)),
    ] = None
    reason: Reason = None
    max_age_seconds: Annotated[
        int | None,
        Field(ge=1, le=365 * DAY_SECONDS, description="An older fire_at is refused; null: as the setting says."),
        Whole,
    ] = None


class RetryDraft(BaseModel):
    """What may be said about a run that is done again. All of it is optional, and so is the body itself."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"examples": [{"payload": {"dry_run": True}, "reason": "fixed"}]}
    )

    payload: Annotated[Payload | None, Field(description="For the new run; see payload_mode.")] = None
    payload_mode: Annotated[
        PayloadMode,
        Field(description="`merge`: into the payload that the run had (RFC 7396); `replace`: instead of it."),
    ] = PayloadMode.MERGE
    reason: Reason = None


class Triggering:
    """`engine_runs`: whether some engine executes runs, here or elsewhere. `max_age_seconds`: how old an occurrence
    may be unless the trigger says so itself. `check_call`: asked of the schedule with the payload that the run gets."""

    def __init__(
        self,
        store: Store,
        reader: RunReader,
        *,
        wakeup: Callable[[], None],
        publish: Callable[[RunChanged], None],
        engine_runs: Callable[[], Awaitable[bool]],
        entropy: Callable[[int], bytes] = os.urandom,
        max_age_seconds: int = DAY_SECONDS,
        check_call: CallCheck = lambda _: None,
    ) -> None:
        self._store = store
        self._reader = reader
        self._wakeup = wakeup
        self._publish = publish
        self._engine_runs = engine_runs
        self._entropy = entropy
        self._max_age_seconds = max_age_seconds
        self._check_call = check_call

    async def find(self, name: str, *, user_id: str | None = None, owner: str | None = None) -> Schedule:
        """The schedule with this name, of `user_id` alone if that is given. `owner`: whose, for callers who see several
        owners' schedules of one name.

        Raises NotFound, InvalidField, Conflict (several owners have one).
        """
        if text_fault(name) or text_fault(owner or ""):
            raise NotFound("Schedule")
        if user_id is not None and owner not in (None, user_id):
            raise NotFound("Schedule")
        where = ScheduleFilter(name=name, user_id=user_id if owner is None else owner)
        found = (await self._store.list_schedules(where, PageRequest(limit=2))).items
        if not found:
            raise NotFound("Schedule")
        if len(found) > 1:
            raise Conflict(f"Several owners have a schedule named '{name}': say ?owner=, or use the schedule's id")
        return found[0]

    async def trigger(
        self,
        schedule_id: str,
        draft: TriggerDraft | Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        overlap: Overlap | None = None,
        wait_seconds: float = 0.0,
        user_id: str | None = None,
        traceparent: str | None = None,
        by: Actor | None = None,
        again: Run | None = None,
    ) -> RunDetail:
        """One run now, under the schedule's overlap policy unless `overlap` says otherwise. The same `key` within
        KEY_HOURS answers the same run (`is_replay`), also when the schedule could not be triggered any more. `again`:
        the run that it does once more, with the payload that that one was given.

        Waits at most `wait_seconds` until the run is over or paused. `traceparent`: the header of the request that
        asks for it. Raises NotFound, InvalidField, Forbidden, ScheduleDisabled, TooOld, KeyReused, EngineStopped.
        """
        if text_fault(schedule_id):
            raise NotFound("Schedule")
        draft = read_draft(TriggerDraft, draft or {})
        fire_at = None if draft.fire_at is None else read_time("fire_at", draft.fire_at)
        can_run = await self._engine_runs()
        run_id = uuid7(await self._store.now(), self._entropy(10))

        def plan(schedule: Schedule, situation: Situation, now: Instant) -> Plan:
            if not schedule.enabled:
                raise ScheduleDisabled
            self._check_age(draft, fire_at, now)
            note = self._note(schedule, draft, by, again)
            if not can_run:
                raise EngineStopped("Scheduler is not running: no engine executes runs at the moment")
            called = schedule if overlap is None else replace(schedule, overlap=overlap)
            return plan_trigger(called, situation, now, run_id, fire_at=fire_at, note=note)

        # The watch begins before the run exists, so that its end cannot be missed.
        with self._reader.watching(run_id) as changed:
            made = await self._store.trigger(
                schedule_id, plan, user_id=user_id, key=_key(key, draft, overlap, again), by=by or Actor()
            )
            run = made.run
            if not made.is_replay:
                self._wakeup()
                self._publish(
                    RunChanged(
                        run_id=run.id,
                        schedule_id=schedule_id,
                        schedule_name=made.schedule.name,
                        traceparent=traceparent,
                    )
                )
                return await self._reader.end_of(run, changed, wait_seconds)
        with self._reader.watching(run.id) as changed:
            detail = await self._reader.end_of(run, changed, wait_seconds)
            return replace(detail, is_replay=True)

    async def retry(
        self,
        schedule_id: str,
        run_id: str,
        draft: RetryDraft | Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        wait_seconds: float = 0.0,
        user_id: str | None = None,
        traceparent: str | None = None,
        by: Actor | None = None,
    ) -> RunDetail:
        """Does a run that is over once more, now. Raises what `trigger` raises, CorruptRow, and Conflict while the run
        is not over."""
        draft = read_draft(RetryDraft, draft or {})
        run = await self._reader.find(schedule_id, run_id, user_id)
        if not run.status.is_final:
            raise Conflict(f"The run is {run.status}: it can be run again once it is over")
        return await self.trigger(
            schedule_id,
            TriggerDraft(**{name: getattr(draft, name) for name in RetryDraft.model_fields}),
            key=key,
            wait_seconds=wait_seconds,
            user_id=user_id,
            traceparent=traceparent,
            by=by,
            again=run,
        )

    def _check_age(self, draft: TriggerDraft, fire_at: Instant | None, now: Instant) -> None:
        if fire_at is None:
            return
        if fire_at > now + AHEAD_SECONDS * SECOND:
            raise InvalidField("fire_at", f"lies more than {AHEAD_SECONDS} s in the future; a trigger runs now")
        max_age_seconds = draft.max_age_seconds or self._max_age_seconds
        if is_too_old(fire_at, now, max_age_seconds):
            raise TooOld(max_age_seconds)

    def _note(self, schedule: Schedule, draft: TriggerDraft, by: Actor | None, again: Run | None) -> TriggerNote:
        payload, has_payload = schedule.target.payload, draft.payload is not None
        if again is not None and again.trigger_note is not None and again.trigger_note.has_payload:
            payload, is_own = again.trigger_note.payload, True
        else:
            is_own = has_payload
        if has_payload:
            is_merge = draft.payload_mode is PayloadMode.MERGE
            payload = merged(payload, draft.payload) if is_merge else draft.payload
            if fault := payload_fault(payload):
                raise InvalidField("payload", f"The merged payload {fault}")
        self._check_call(replace(schedule, target=replace(schedule.target, payload=payload)))
        return TriggerNote(
            reason=draft.reason,
            by=name_of(by),
            retry_of=None if again is None else again.id,
            has_payload=is_own,
            payload=payload if is_own else None,
        )


def _key(key: str | None, draft: TriggerDraft, overlap: Overlap | None, again: Run | None) -> TriggerKey | None:
    """Raises InvalidField."""
    if key is None:
        return None
    if not key.strip() or len(key) > KEY_LENGTH or text_fault(key):
        raise InvalidField("Idempotency-Key", f"must have 1 to {KEY_LENGTH} characters, not only blanks")
    asked = draft.model_dump(mode="json", exclude_defaults=True) | {"overlap": overlap}
    asked |= {} if again is None else {"retry_of": again.id}
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"))
    return TriggerKey(key=key, fingerprint=hashlib.sha256(text.encode()).hexdigest())
