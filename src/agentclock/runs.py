"""The use cases around runs that exist: find them, wait for their end, stop them, answer them, add up what they used.

`user_id` narrows every use case to one owner's rows; None means all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal, TypeAlias

import structlog
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from agentclock.core.actors import Actor, name_of
from agentclock.core.approvals import missing_answers
from agentclock.core.errors import CorruptRow, InvalidField, NotFound, NotPaused, StoreUnavailable
from agentclock.core.events import RunChanged
from agentclock.core.model import Attempt, Instant, Instruction, InstructionKind, Run, RunStatus
from agentclock.core.storable import payload_fault, text_fault
from agentclock.drafts import read_draft
from agentclock.ports import (
    Clock,
    Page,
    PageRequest,
    RunFilter,
    ScheduleBrief,
    ScheduleFilter,
    ScheduleOrder,
    Store,
    UsageTotal,
)

#: Schedules whose names have a text in common that runs may be looked for by; the newest.
MOST_NAMED: Final = 20_000
#: Rows that `page` may skip. Reading on from there is what `cursor` is for, at constant cost.
PAGED_ROWS: Final = 100_000
#: A run may execute in another process, which tells us nothing: look at the database this often.
LOOK_SECONDS: Final = 1.0

#: While the context is open, the event is set whenever the run with this id may have changed.
RunWatch: TypeAlias = Callable[[str], AbstractContextManager[asyncio.Event]]


def _check_json(value: Any) -> Any:
    fault = payload_fault(value)
    if fault:
        raise PydanticCustomError("payload", f"It {fault}")
    return value


Rows: TypeAlias = Annotated[list[dict[str, Any]], Field(max_length=1_000), BeforeValidator(_check_json)]


class Answers(BaseModel):
    """A human's decision on what a paused run waits for.

    Without `tools`, `requirements` and `step_requirements` it holds for everything that the run waits for.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"examples": [{"action": "approve", "note": "Go ahead."}]}
    )

    action: Annotated[
        Literal["approve", "reject"] | None, Field(description="What becomes of all that is not answered singly.")
    ] = None
    note: Annotated[
        str | None,
        Field(max_length=4096, description="Why; an agent that is refused something gets to read it."),
        AfterValidator(_check_json),
    ] = None
    values: Annotated[
        dict[str, Any] | None, BeforeValidator(_check_json), Field(description="What the agent asked for, by name.")
    ] = None
    result: Annotated[
        Any, BeforeValidator(_check_json), Field(description="What came of a tool that was to be carried out outside.")
    ] = None
    tools: Annotated[Rows | None, Field(description="An agent's tools as AgentOS wants them, answered singly.")] = None
    requirements: Annotated[Rows | None, Field(description="Likewise a team's requirements.")] = None
    step_requirements: Annotated[Rows | None, Field(description="Likewise a workflow's steps.")] = None

    def values_given(self) -> dict[str, Any]:
        """The fields that say something, by their wire names."""
        return {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetail:
    """`schedule_name` and `jitter_seconds`: the schedule's; None: not asked for, or the schedule is gone. `is_replay`:
    the run was there before, by an earlier trigger with the same key."""

    run: Run
    attempts: tuple[Attempt, ...] = ()
    schedule_name: str | None = None
    jitter_seconds: int | None = None
    is_replay: bool = False

    @property
    def is_settled(self) -> bool:
        """Over, or paused until a human decides."""
        return self.run.status.is_final or self.run.status is RunStatus.PAUSED


class RunReader:
    """Finds runs with their attempts and waits for their ends; `watch` reports those that execute in this process."""

    def __init__(self, store: Store, *, clock: Clock, watch: RunWatch | None = None) -> None:
        self._store = store
        self._clock = clock
        self._watch = watch
        self._log = structlog.get_logger("agentclock.runs")

    async def find(self, schedule_id: str | None, run_id: str, user_id: str | None = None) -> Run:
        """`schedule_id` None: of whichever schedule. Raises NotFound, CorruptRow."""
        run = None if text_fault(run_id) else await self._store.get_run(run_id)
        if run is None or schedule_id not in (None, run.schedule_id) or user_id not in (None, run.user_id):
            raise NotFound("Schedule run")
        return run

    async def with_attempts(self, run: Run) -> RunDetail:
        return (await details_of(self._store, [run]))[0]

    async def page(self, where: RunFilter, page: PageRequest) -> Page[RunDetail]:
        """Raises InvalidField."""
        check_page(page)
        found = await self._store.list_runs(where, page)
        return Page(
            items=tuple(await details_of(self._store, found.items)),
            total_count=found.total_count,
            next_cursor=found.next_cursor,
            faults=found.faults,
        )

    async def require_schedule(self, schedule_id: str, user_id: str | None) -> None:
        """Raises NotFound. One that cannot be read will do: its history can be read all the same."""
        try:
            known = None if text_fault(schedule_id) else await self._store.get_schedule(schedule_id, user_id)
        except CorruptRow as error:
            self._log.error("schedule_unreadable", schedule_id=schedule_id, reason=error.reason)
            return
        if known is None:
            raise NotFound("Schedule")

    def watching(self, run_id: str) -> AbstractContextManager[asyncio.Event]:
        """Open it before the change whose consequence is waited for, so that it cannot be missed."""
        return self._watch(run_id) if self._watch else nullcontext(asyncio.Event())

    async def end_of(self, run: Run, changed: asyncio.Event, wait_seconds: float) -> RunDetail:
        """The run at its end, or as it stands after `wait_seconds`.

        What was asked for is on record by now: a database that goes away meanwhile must not look like a failure of it.
        """
        deadline = self._clock.monotonic() + wait_seconds
        try:
            while not RunDetail(run=run).is_settled:
                left = deadline - self._clock.monotonic()
                if left <= 0:
                    break
                await self._first_of(changed, min(left, LOOK_SECONDS))
                changed.clear()
                run = await self._store.get_run(run.id) or run
            return await self.with_attempts(run)
        except StoreUnavailable as error:
            self._log.warning("wait_ended", run_id=run.id, reason=str(error))
            return RunDetail(run=run)

    async def _first_of(self, changed: asyncio.Event, seconds: float) -> None:
        waits = [asyncio.ensure_future(changed.wait()), asyncio.ensure_future(self._clock.sleep(seconds))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)


class Runs:
    """`wakeup` tells engines everywhere to look again at once, `cancel_here` the one of this process to end a run that
    it may hold, `publish` tells everybody who watches."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        wakeup: Callable[[], None],
        cancel_here: Callable[[str], None] = lambda _: None,
        publish: Callable[[RunChanged], None] = lambda _: None,
        watch: RunWatch | None = None,
    ) -> None:
        self._store = store
        self._wakeup = wakeup
        self._cancel_here = cancel_here
        self._publish = publish
        self._reader = RunReader(store, clock=clock, watch=watch)

    async def get(self, schedule_id: str, run_id: str, *, user_id: str | None = None) -> RunDetail:
        """Raises NotFound, CorruptRow."""
        return await self._reader.with_attempts(await self._reader.find(schedule_id, run_id, user_id))

    async def find(self, run_id: str, *, user_id: str | None = None) -> RunDetail:
        """A run by its id alone, with its schedule's name. Raises NotFound, CorruptRow."""
        return await self._reader.with_attempts(await self._reader.find(None, run_id, user_id))

    async def list(
        self, where: RunFilter | None = None, page: PageRequest | None = None, *, name: str | None = None
    ) -> Page[RunDetail]:
        """Runs of all schedules, newest first, with the schedules' names. `name`: a part of it, in any case, of
        schedules that are there. Raises InvalidField."""
        where, page = where or RunFilter(), page or PageRequest()
        check_texts(schedule_id=where.schedule_id, q=name)
        if name:
            named = ScheduleFilter(user_id=where.user_id, name_contains=name)
            briefs = await self._store.briefs(named, MOST_NAMED, ScheduleOrder.NEWEST)
            where = replace(where, schedule_ids=tuple(brief.id for brief in briefs))
        return await self._reader.page(where, page)

    async def cancel(
        self,
        schedule_id: str,
        run_id: str,
        *,
        user_id: str | None = None,
        by: Actor | None = None,
        wait_seconds: float = 0.0,
    ) -> RunDetail:
        """Stops a run wherever it stands, and waits at most `wait_seconds` until it is over; a run that is over
        already is answered as it is. Raises NotFound, CorruptRow.
        """
        run = await self._reader.find(schedule_id, run_id, user_id)
        if run.status.is_final:
            return await self._reader.with_attempts(run)
        with self._reader.watching(run_id) as changed:
            why = "cancelled" if name_of(by) is None else f"cancelled by {name_of(by)}"
            if await self._store.request_cancel(run_id, why, by=by) is None:
                raise NotFound("Schedule run")
            self._cancel_here(run_id)
            self._tell(run)
            return await self._reader.end_of(await self._store.get_run(run_id) or run, changed, wait_seconds)

    async def continue_(
        self,
        schedule_id: str,
        run_id: str,
        answers: Answers | Mapping[str, Any],
        *,
        user_id: str | None = None,
        by: Actor | None = None,
        wait_seconds: float = 0.0,
    ) -> RunDetail:
        """Lets a paused run go on with a human's decision, and waits at most `wait_seconds` until it is over or
        paused again. Of two people who answer at once the second is too late.

        Raises NotFound, CorruptRow, NotPaused, InvalidField (an answer is missing or unreadable).
        """
        given = read_draft(Answers, answers).values_given()
        run = await self._reader.find(schedule_id, run_id, user_id)
        if run.status is not RunStatus.PAUSED:
            raise NotPaused(run.status)
        missing = missing_answers(run.requirements, given)
        if missing:
            raise InvalidField("body", f"the run waits for more: {'; '.join(missing)}")
        with self._reader.watching(run_id) as changed:
            instruction = Instruction(kind=InstructionKind.CONTINUE, answers=given, by=name_of(by))
            continued = await self._store.instruct(run_id, instruction, by=by)
            if continued is None:
                present = await self._reader.find(schedule_id, run_id, user_id)
                raise NotPaused(present.status)
            self._tell(continued)
            return await self._reader.end_of(continued, changed, wait_seconds)

    async def usage(
        self,
        schedule_id: str,
        since: Instant | None = None,
        until: Instant | None = None,
        *,
        user_id: str | None = None,
    ) -> tuple[UsageTotal, ...]:
        """What the schedule's attempts used up, by model; fire times bounded by since <= fire time < until.

        Raises NotFound.
        """
        await self._reader.require_schedule(schedule_id, user_id)
        return tuple(await self._store.usage(schedule_id, since, until))

    def _tell(self, run: Run) -> None:
        self._wakeup()
        self._publish(RunChanged(run_id=run.id, schedule_id=run.schedule_id, attempt=run.attempt))


async def details_of(store: Store, runs: Sequence[Run]) -> list[RunDetail]:
    """In the order of the runs, each with its attempts and what its schedule adds."""
    attempts = await store.attempts_of([run.id for run in runs])
    schedule_ids = tuple(dict.fromkeys(run.schedule_id for run in runs))
    found = await store.briefs(ScheduleFilter(ids=schedule_ids), len(schedule_ids)) if schedule_ids else []
    briefs = {brief.id: brief for brief in found}
    return [_detail(run, attempts.get(run.id, ()), briefs.get(run.schedule_id)) for run in runs]


def _detail(run: Run, attempts: Iterable[Attempt], schedule: ScheduleBrief | None) -> RunDetail:
    if schedule is None:
        return RunDetail(run=run, attempts=tuple(attempts))
    return RunDetail(
        run=run, attempts=tuple(attempts), schedule_name=schedule.name, jitter_seconds=schedule.jitter_seconds
    )


def check_texts(**texts: str | None) -> None:
    """Raises InvalidField for text that cannot be stored, and so is nowhere to be found."""
    for field, text in texts.items():
        fault = text_fault(text) if text else None
        if fault:
            raise InvalidField(field, fault)


def check_page(page: PageRequest) -> None:
    """Raises InvalidField."""
    check_texts(cursor=page.cursor)
    if (page.page - 1) * page.limit > PAGED_ROWS:
        raise InvalidField("page", f"lies more than {PAGED_ROWS:,} rows deep: use next_cursor of the page before")
