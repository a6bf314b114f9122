"""What callers write: the fields of a schedule with their types and ranges, the same for REST, CLI, UI and tools.

Only what a field says by itself is checked here; what fields mean, together and at this moment, is read by
`agentclock.timing` and `agentclock.scheduler`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Set
from dataclasses import replace
from difflib import get_close_matches
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar
from urllib.parse import unquote

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from agentclock.core.cron import MAX_LENGTH as CRON_LENGTH
from agentclock.core.errors import InvalidField
from agentclock.core.model import (
    DAY_SECONDS,
    ApprovalAction,
    CatchUp,
    OnLost,
    Overlap,
    RetryBackoff,
    Schedule,
)
from agentclock.core.origins import absolute_fault, is_absolute
from agentclock.core.pings import PING_URL_LENGTH, ping_url_fault
from agentclock.core.planning import MOST_CAUGHT_UP
from agentclock.core.storable import payload_fault, text_fault

#: Shown with a schedule, but never written by callers.
READ_ONLY: Final = frozenset(
    {"id", "user_id", "enabled", "next_run_at", "managed_by", "target_type", "target_id", "disabled_reason",
     "created_at", "updated_at", "version", "next_fire_at", "retries_lost", "provenance", "explanation", "warnings"}
)  # fmt: skip

_PLAIN: Final = (
    "name", "description", "jitter_seconds", "overlap", "catch_up", "catch_up_window_seconds", "catch_up_limit",
    "catch_up_stagger_seconds", "misfire_grace_seconds", "timeout_seconds", "idle_timeout_seconds",
    "approval_timeout_seconds", "approval_timeout_action", "on_lost", "tags", "ping_url",
)  # fmt: skip
_TARGET: Final = {"target": "name", "method": "method", "endpoint": "endpoint", "payload": "payload"}
#: What says which call a schedule makes.
TARGET_FIELDS: Final = _TARGET.keys()
_RETRY: Final = {
    "max_retries": "max_retries",
    "retry_delay_seconds": "delay_seconds",
    "retry_backoff": "backoff",
    "retry_max_delay_seconds": "max_delay_seconds",
}

_NO_ENDPOINT: Final = "Must be a path that starts with one '/': the base URL belongs to the target's configuration"

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]*")


def _sound(text: str) -> str:
    fault = text_fault(text)
    if fault:
        raise PydanticCustomError("text", f"{fault[0].upper()}{fault[1:]}")
    return text


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticCustomError("int_type", "Input should be a whole number, not true or false")
    return value


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        message = "Must start with a letter or digit (A-Z, a-z, 0-9), then letters, digits, blanks and . _ - only"
        raise PydanticCustomError("name", message)
    return name


def _check_endpoint(endpoint: str) -> str:
    if is_absolute(endpoint):
        fault = absolute_fault(endpoint) if endpoint.lower().startswith(("http:", "https:")) else _NO_ENDPOINT
        if fault:
            raise PydanticCustomError("endpoint", f"{fault[0].upper()}{fault[1:]}")
    elif endpoint.startswith("//") or "://" in endpoint:
        raise PydanticCustomError("endpoint", _NO_ENDPOINT)
    if any(char.isspace() or unicodedata.category(char) == "Cc" for char in endpoint):
        raise PydanticCustomError("endpoint", "Must not contain blanks or control characters")
    if "\\" in endpoint or "#" in endpoint:
        raise PydanticCustomError("endpoint", "Must not contain backslashes or a fragment ('#')")
    segments = [unquote(segment) for segment in endpoint.partition("?")[0].split("/")]
    if any(segment in (".", "..") or "\\" in segment for segment in segments):
        # Every run of it would be refused by the executor.
        raise PydanticCustomError("endpoint", "Must not contain '.' or '..' as a part of its path, nor backslashes")
    return endpoint


def _check_ping_url(url: str) -> str:
    fault = ping_url_fault(url)
    if fault:
        raise PydanticCustomError("ping_url", f"{fault[0].upper()}{fault[1:]}")
    return url


def _check_payload(payload: object) -> object:
    fault = payload_fault(payload)
    if fault:
        raise PydanticCustomError("payload", f"The payload {fault}")
    return payload


def _upper(method: object) -> object:
    return method.upper() if isinstance(method, str) else method


def _distinct(tags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tags))


#: No number is a boolean, whatever Python thinks.
Whole: Final = BeforeValidator(_no_boolean)
_Sound = AfterValidator(_sound)
_TIME = "ISO 8601, with an offset or local to the schedule's zone."

Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=255,
        description="Unique for its owner; letters, digits, blanks and . _ -",
        json_schema_extra={"pattern": f"^{_NAME.pattern}$"},
    ),
    AfterValidator(_check_name),
]
Description = Annotated[str, Field(max_length=1024), _Sound]
TargetName = Annotated[
    str, Field(min_length=1, max_length=64, description="Which configured base URL is called."), _Sound
]
Method = Annotated[Literal["GET", "POST", "PUT", "PATCH", "DELETE"], BeforeValidator(_upper)]
Endpoint = Annotated[
    str,
    Field(
        max_length=512,
        description="Path on the target's base URL, such as /agents/{id}/runs; or a URL in full, for admins only, "
        "if the setting `allowed_origins` has its origin: then no target's headers go along.",
    ),
    _Sound,
    AfterValidator(_check_endpoint),
]
Payload = Annotated[
    dict[str, Any],
    Field(description="What is sent: a JSON object of at most 1 MiB and 64 levels."),
    BeforeValidator(_check_payload),
]
CronText = Annotated[
    str,
    Field(
        max_length=CRON_LENGTH,
        description="Five cron fields or @daily and the like; empty means on demand: it runs only when triggered.",
    ),
    _Sound,
]
TimeText = Annotated[str, Field(min_length=1, max_length=64, description=_TIME), _Sound]
ZoneName = Annotated[str, Field(min_length=1, max_length=64, description="IANA name, in any case."), _Sound]
IntervalSeconds = Annotated[int, Field(ge=1, le=31_536_000, description="Fire every so many seconds."), Whole]
MaxRuns = Annotated[int, Field(ge=1, le=1_000_000, description="It fires at most so many times."), Whole]
JitterSeconds = Annotated[
    int,
    Field(ge=0, le=3600, description="Delays the start by up to so many seconds, constant for each schedule."),
    Whole,
]
CatchUpWindow = Annotated[
    int, Field(ge=0, le=2_678_400, description="Fires missed longer ago than this are not caught up."), Whole
]
CatchUpLimit = Annotated[
    int,
    Field(ge=1, le=MOST_CAUGHT_UP, description="With catch_up `all`: so many missed fires run, the newest."),
    Whole,
]
CatchUpStagger = Annotated[
    int, Field(ge=0, le=3600, description="Runs that make up for missed fires begin so far apart."), Whole
]
MisfireGrace = Annotated[
    int,
    Field(ge=0, le=86_400, description="A fire noticed later than this counts as missed: catch_up decides."),
    Whole,
]
TimeoutSeconds = Annotated[
    int, Field(ge=1, le=86_400, description="Limit of one attempt; waiting for a human does not count."), Whole
]
IdleTimeout = Annotated[
    int,
    Field(ge=1, le=86_400, description="An agent silent for so long is stopped; null: no limit."),
    Whole,
]
ApprovalTimeout = Annotated[
    int, Field(ge=1, le=2_592_000, description="How long a paused run waits for a human; null: for ever."), Whole
]
TimeoutAction = Annotated[ApprovalAction, Field(description="How a run ends that no human answered in time.")]
LostPolicy = Annotated[
    OnLost | None,
    Field(
        description="What follows when nobody knows how an attempt ended: `retry` (if retries are left) or `fail`. "
        "null: retry only what may be sent twice, that is GET, PUT and DELETE; `retries_lost` shows what that means."
    ),
]
MaxRetries = Annotated[int, Field(ge=0, le=10, description="Further attempts after the first."), Whole]
RetryDelay = Annotated[int, Field(ge=1, le=3600), Whole]
RetryMaxDelay = Annotated[int, Field(ge=1, le=86_400), Whole]
Tag = Annotated[str, Field(min_length=1, max_length=64), _Sound]
Tags = Annotated[tuple[Tag, ...], Field(max_length=20), AfterValidator(_distinct)]
PingUrl = Annotated[
    str,
    Field(max_length=PING_URL_LENGTH, description="Told of every start and end of a run, for a dead man's switch."),
    _Sound,
    AfterValidator(_check_ping_url),
]


class ScheduleDraft(BaseModel):
    """A schedule to create. At most one of cron_expr, run_at and interval_seconds; none: on demand."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "name": "daily-summary",
                    "cron_expr": "0 7 * * mon-fri",
                    "timezone": "Europe/Berlin",
                    "endpoint": "/agents/assistant/runs",
                    "payload": {"message": "Summarise what happened since yesterday."},
                }
            ]
        },
    )

    name: Name
    endpoint: Endpoint
    method: Method = "POST"
    target: TargetName = "default"
    description: Description | None = None
    payload: Payload | None = None
    cron_expr: CronText | None = None
    run_at: TimeText | None = None
    interval_seconds: IntervalSeconds | None = None
    timezone: ZoneName = "UTC"
    start_at: TimeText | None = None
    end_at: TimeText | None = None
    max_runs: MaxRuns | None = None
    jitter_seconds: JitterSeconds = 0
    overlap: Overlap = Overlap.SKIP
    catch_up: CatchUp = CatchUp.LATEST
    catch_up_window_seconds: CatchUpWindow = DAY_SECONDS
    catch_up_limit: CatchUpLimit = 100
    catch_up_stagger_seconds: CatchUpStagger = 1
    misfire_grace_seconds: MisfireGrace = 60
    timeout_seconds: TimeoutSeconds = 3600
    idle_timeout_seconds: IdleTimeout | None = None
    approval_timeout_seconds: ApprovalTimeout | None = DAY_SECONDS
    approval_timeout_action: TimeoutAction = ApprovalAction.CANCEL
    on_lost: LostPolicy = None
    max_retries: MaxRetries = 0
    retry_delay_seconds: RetryDelay = 60
    retry_backoff: RetryBackoff = RetryBackoff.FIXED
    retry_max_delay_seconds: RetryMaxDelay = 3600
    tags: Tags = ()
    ping_url: PingUrl | None = None

    def values(self) -> dict[str, Any]:
        """Every field by its wire name, defaults included."""
        return {name: getattr(self, name) for name in type(self).model_fields}


def _left_out() -> Any:
    """A field that may be absent but not null: absence is known from `model_fields_set`."""
    return Field(default_factory=lambda: None)


class SchedulePatch(BaseModel):
    """Changes of a schedule. Absent fields stay as they are; null empties those that may be empty.

    One timing field replaces the others; cron_expr "" makes the schedule on demand.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"examples": [{"cron_expr": "30 6 * * *", "max_retries": 2}]}
    )

    name: Name = _left_out()
    endpoint: Endpoint = _left_out()
    method: Method = _left_out()
    target: TargetName = _left_out()
    description: Description | None = _left_out()
    payload: Payload | None = _left_out()
    cron_expr: CronText = _left_out()
    run_at: TimeText | None = _left_out()
    interval_seconds: IntervalSeconds | None = _left_out()
    timezone: ZoneName = _left_out()
    start_at: TimeText | None = _left_out()
    end_at: TimeText | None = _left_out()
    max_runs: MaxRuns | None = _left_out()
    jitter_seconds: JitterSeconds = _left_out()
    overlap: Overlap = _left_out()
    catch_up: CatchUp = _left_out()
    catch_up_window_seconds: CatchUpWindow = _left_out()
    catch_up_limit: CatchUpLimit = _left_out()
    catch_up_stagger_seconds: CatchUpStagger = _left_out()
    misfire_grace_seconds: MisfireGrace = _left_out()
    timeout_seconds: TimeoutSeconds = _left_out()
    idle_timeout_seconds: IdleTimeout | None = _left_out()
    approval_timeout_seconds: ApprovalTimeout | None = _left_out()
    approval_timeout_action: TimeoutAction = _left_out()
    on_lost: LostPolicy = _left_out()
    max_retries: MaxRetries = _left_out()
    retry_delay_seconds: RetryDelay = _left_out()
    retry_backoff: RetryBackoff = _left_out()
    retry_max_delay_seconds: RetryMaxDelay = _left_out()
    tags: Tags = _left_out()
    ping_url: PingUrl | None = _left_out()

    def values(self) -> dict[str, Any]:
        """The fields that were sent, by their wire names."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class PreviewDraft(BaseModel):
    """A timetable to look at before it is saved."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cron_expr: CronText | None = None
    run_at: TimeText | None = None
    interval_seconds: IntervalSeconds | None = None
    timezone: ZoneName = "UTC"
    start_at: TimeText | None = None
    end_at: TimeText | None = None
    max_runs: MaxRuns | None = None
    count: Annotated[int, Field(ge=1, le=100, description="How many fires to show."), Whole] = 10

    def values(self) -> dict[str, Any]:
        """The timing fields by their wire names, defaults included."""
        return {name: getattr(self, name) for name in type(self).model_fields if name != "count"}


Draft = TypeVar("Draft", bound=BaseModel)
Given: TypeAlias = Mapping[str, Any]


def read_draft(model: type[Draft], given: Draft | Given) -> Draft:
    """Raises InvalidField for the first field that is wrong."""
    if isinstance(given, model):
        return given
    try:
        return model.model_validate(dict(given) if isinstance(given, Mapping) else given)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        field, *rest = fault["loc"] or ("body",)
        message = fault_message(fault["type"], str(field), fault["msg"], wire_names(model))
        raise InvalidField(".".join(map(str, (field, *rest))), message, **fault.get("ctx", {})) from None


def wire_names(model: type[BaseModel]) -> Set[str]:
    """What callers call the fields of `model`."""
    return {field.alias or name for name, field in model.model_fields.items()}


def fault_message(kind: str, field: str, message: str, known: Set[str]) -> str:
    """The sentence for one fault; for a field that does not exist, with what may have been meant."""
    if kind != "extra_forbidden":
        return message
    if len(field) > 64:
        return f"unknown field '{field[:64]}...'"
    if field == "enabled":
        return "'enabled' cannot be written: use enable and disable"
    if field in READ_ONLY:
        return f"'{field}' is read-only: leave it out"
    near = get_close_matches(field, sorted(known), n=1, cutoff=0.5)
    return f"unknown field '{field}'" + (f": did you mean '{near[0]}'?" if near else "")


def with_values(schedule: Schedule, values: Mapping[str, Any]) -> Schedule:
    """`schedule` with `values` (wire names) in place of its own; timing fields are left to `timing.retimed`."""
    target = {field: values[name] for name, field in _TARGET.items() if name in values}
    retry = {field: values[name] for name, field in _RETRY.items() if name in values}
    plain = {name: values[name] for name in _PLAIN if name in values}
    return replace(schedule, target=replace(schedule.target, **target), retry=replace(schedule.retry, **retry), **plain)
