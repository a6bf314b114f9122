"""Fault plans: what may happen in a simulation, how often, and for how long. A TOML file, every field optional."""

from __future__ import annotations

import tomllib
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from agentclock.core.cron import Cron
from agentclock.core.model import Instant
from agentclock.core.zones import Zone

PLANS: Final = Path(__file__).parent / "plans"

Probability = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]


class PlanError(Exception):
    """A plan that cannot be used; the text names the file and each field that is wrong."""


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Range(Part):
    """From `least` to `most`, both included; written [least, most] in the file."""

    least: Seconds
    most: Seconds

    @model_validator(mode="before")
    @classmethod
    def _pair(cls, value: object) -> object:
        if isinstance(value, dict | Range):
            return value
        if not (isinstance(value, list | tuple) and len(value) == 2):
            raise ValueError("write two numbers: [least, most]")
        return {"least": value[0], "most": value[1]}

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.least > self.most:
            raise ValueError("the first number is the lower bound and must not be greater than the second")
        return self


def span(least: float, most: float) -> Range:
    return Range(least=least, most=most)


class Count(Range):
    least: Annotated[int, Field(ge=0)]
    most: Annotated[int, Field(ge=0)]


class Workers(Part):
    """How many processes, and how each is set up; of the lists one entry is drawn for each seed."""

    count: Annotated[Count, Field(description="processes")] = Count(least=1, most=3)
    concurrency: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] = [1, 3, 50]
    lease_seconds: Annotated[list[Annotated[float, Field(ge=1)]], Field(min_length=1)] = [20, 60]
    poll_seconds: Annotated[float, Field(ge=1)] = 30
    review_seconds: Annotated[float, Field(ge=0.1)] = 15
    shutdown_grace_seconds: Annotated[list[Seconds], Field(min_length=1)] = [0, 5]
    latency_ms: Range = span(0, 8)

    @field_validator("count")
    @classmethod
    def _somebody_works(cls, count: Count) -> Count:
        if count.least < 1:
            raise ValueError("at least 1")
        return count


class Schedules(Part):
    """What the schedules are made of: each draws one entry of every list."""

    count: Count = Count(least=4, most=8)
    expressions: Annotated[list[str], Field(min_length=1)] = [
        "* * * * *",
        "*/5 * * * *",
        "0 * * * *",
        "30 2 * * *",
        "0 0 * * 1",
        "15,45 9-17 * * *",
    ]
    intervals_seconds: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] = [7, 300, 600, 86_400]
    timezones: Annotated[list[str], Field(min_length=1)] = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "America/Havana",
    ]
    overlap: Annotated[list[Literal["skip", "queue", "allow", "cancel"]], Field(min_length=1)] = [
        "skip",
        "queue",
        "allow",
        "cancel",
    ]
    catch_up: Annotated[list[Literal["latest", "none", "all"]], Field(min_length=1)] = ["latest", "none", "all"]
    catch_up_window_seconds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [0, 3_600, 86_400]
    catch_up_limit: Annotated[list[Annotated[int, Field(ge=1, le=10_000)]], Field(min_length=1)] = [3, 20]
    misfire_grace_seconds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [0, 60, 600]
    jitter_seconds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [0, 0, 90]
    max_retries: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [0, 1, 3]
    retry_delay_seconds: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] = [1, 60]
    on_lost: Annotated[list[Literal["retry", "fail", "default"]], Field(min_length=1)] = ["retry", "fail", "default"]
    agents: Annotated[Probability, Field(description="the part of them that calls an agent")] = 0.5
    run_seconds: Annotated[list[Seconds], Field(min_length=1)] = [0.01, 2, 40, 200]
    max_runs: Annotated[Probability, Field(description="the part of them that ends after five runs")] = 0.2

    @field_validator("expressions")
    @classmethod
    def _expressions_are_readable(cls, expressions: list[str]) -> list[str]:
        for expression in expressions:
            Cron.parse(expression)
        return expressions

    @field_validator("timezones")
    @classmethod
    def _zones_are_known(cls, zones: list[str]) -> list[str]:
        for zone in zones:
            Zone.load(zone)
        return zones


class Fault(Part):
    probability: Probability


class LastingFault(Fault):
    seconds: Range


class Jump(Fault):
    """`seconds`: a jump of this length, in a direction that is drawn."""

    seconds: Annotated[list[float], Field(min_length=1)]


class Wakeups(Part):
    lost: Probability = 0.1
    duplicated: Probability = 0.1
    spurious: Annotated[Probability, Field(description="per step")] = 0.2
    delay_ms: Range = span(1, 60)


class Targets(Part):
    """What becomes of a request: weights, of which `success` is one."""

    success: Weight = 6
    server_error: Weight = 1
    client_error: Weight = 0.5
    timeout: Weight = 0.5
    refused: Weight = 1
    broken: Annotated[Weight, Field(description="the connection breaks after the request was accepted")] = 0.7

    @model_validator(mode="after")
    def _not_all_zero(self) -> Self:
        if not any(self.model_dump().values()):
            raise ValueError("one of the weights must be greater than 0")
        return self


class Faults(Part):
    """`crash`, `lost_reply`, `failed_call` and `slow_call` are drawn for each call of the database, the others once a
    step."""

    crash: LastingFault = LastingFault(probability=0.001, seconds=span(0, 90))
    lost_reply: Fault = Fault(probability=0.004)
    failed_call: Fault = Fault(probability=0.004)
    slow_call: LastingFault = LastingFault(probability=0.002, seconds=span(0.3, 20))
    database_away: LastingFault = LastingFault(probability=0.06, seconds=span(1, 90))
    frozen: LastingFault = LastingFault(probability=0.08, seconds=span(1, 120))
    suspended: LastingFault = LastingFault(probability=0.04, seconds=span(1, 120))
    skew: Jump = Jump(probability=0.08, seconds=[-3_700, -61, 5, 400])
    database_clock: Jump = Jump(probability=0.03, seconds=[-3_700, -61, 5_000])
    deploy: LastingFault = LastingFault(probability=0.06, seconds=span(0, 20))
    host_away: LastingFault = LastingFault(probability=0.06, seconds=span(1, 120))
    wakeups: Wakeups = Wakeups()
    targets: Targets = Targets()


class People(Part):
    """What people do: `probability` that somebody does something in a step, and the weights of what."""

    probability: Probability = 0.5
    change: Weight = 2
    disable: Weight = 1
    enable: Weight = 2
    trigger: Weight = 2
    cancel: Weight = 2
    approve: Weight = 2
    answer_elsewhere: Weight = 1
    backfill: Weight = 1


class Happening(Part):
    """Something that happens for certain: at `step`, to worker number `worker` (from 1), before or after the store call
    named there, or at once. `seconds`: for how long."""

    step: Annotated[int, Field(ge=1)]
    action: Literal["crash", "freeze", "suspend", "deploy", "database_away", "database_clock", "skew", "lose_reply"]
    worker: Annotated[int, Field(ge=1)] = 1
    before: str | None = None
    after: str | None = None
    seconds: float = 30

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.before is not None and self.after is not None:
            raise ValueError("name one of `before` and `after`, not both")
        if self.action == "lose_reply" and self.after is None:
            raise ValueError("`lose_reply` needs `after`: the store call whose reply is lost")
        if self.action not in ("database_clock", "skew") and self.seconds < 0:
            raise ValueError("`seconds` must not be negative here")
        for name in filter(None, (self.before, self.after)):
            if name not in STORE_CALLS:
                raise ValueError(f"there is no store call {name!r}; there are {', '.join(sorted(STORE_CALLS))}")
        return self


#: Those of the store's methods that engines and people call.
STORE_CALLS: Final = frozenset(
    {
        *("fire_due", "trigger", "claim", "note_agent_run", "settle", "append_events", "event_cursor", "attempts"),
        *("acquire_engine", "renew_lease", "release_engine", "cancel_requests", "orphans", "release_waiting"),
        *(
            "paused_due",
            "instruct",
            "request_cancel",
            "get_schedule",
            "change_schedule",
            "insert_backfill",
            "backfills",
        ),
        *("now", "get_run", "list_runs", "attempts_of", "runs_by_id", "prune", "workers"),
    }
)


class Plan(Part):
    """One simulation: so many steps, each a stretch of time in which things happen. Some begin with a leap: a long time
    in which every worker is dead, stopped or asleep."""

    name: str = "unnamed"
    stores: Annotated[list[Literal["sqlite", "postgres"]], Field(min_length=1)] = ["sqlite", "postgres"]
    steps: Annotated[int, Field(ge=1)] = 25
    step_seconds: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)] = [1, 13, 60, 61, 90]
    leap_probability: Probability = 0.4
    leap_seconds: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)] = [600, 3_600, 30_000, 90_000]
    check_every_steps: Annotated[int, Field(ge=1)] = 9
    begins: Annotated[list[datetime], Field(min_length=1)] = [
        datetime.fromisoformat("2026-03-28T12:13:20Z"),
        datetime.fromisoformat("2026-10-24T00:00:00Z"),
        datetime.fromisoformat("2026-01-01T00:00:00Z"),
    ]
    workers: Workers = Workers()
    schedules: Schedules = Schedules()
    faults: Faults = Faults()
    people: People = People()
    events: list[Happening] = []

    @field_validator("begins")
    @classmethod
    def _begins_are_instants(cls, begins: list[datetime]) -> list[datetime]:
        if any(begin.tzinfo is None for begin in begins):
            raise ValueError("write instants with their offset, such as 2026-03-28T12:00:00Z")
        return begins

    @model_validator(mode="after")
    def _events_can_happen(self) -> Self:
        for place, event in enumerate(self.events):
            if event.step > self.steps:
                raise ValueError(f"events.{place}.step: there are {self.steps} steps")
            if event.worker > self.workers.count.most:
                raise ValueError(f"events.{place}.worker: there are at most {self.workers.count.most}")
        return self

    def begin(self, place: int) -> Instant:
        return round(self.begins[place].timestamp() * 1000)


def read_plan(path: Path) -> Plan:
    """Raises PlanError."""
    try:
        return Plan.model_validate({"name": path.stem} | tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise PlanError(f"{path}: cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{path}: is no TOML: {error}") from error
    except ValidationError as error:
        raise PlanError("\n".join(f"{path}: {_words_of(fault)}" for fault in error.errors())) from error


def _words_of(fault: Any) -> str:
    """The field and what is wrong with it; what is wrong with several together names them itself."""
    field = ".".join(map(str, fault["loc"]))
    said = fault["msg"].removeprefix("Value error, ")
    return f"{field}: {said}" if field else said
