"""Settings: one frozen object from the command line, AGENTCLOCK_* variables and a TOML file, in that order.

[agentclock]                       # agentclock.toml
database = "postgresql://agentclock@db/agentclock"
concurrency = 200

[agentclock.targets.default]
base_url = "http://127.0.0.1:8000"

[agentclock.targets.hooks]
base_url = "https://hooks.example.com"
kind = "http"
headers = { X-Team = "clock" }
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from agentclock.core.errors import ConfigError
from agentclock.core.pings import ping_url_fault

ENV_PREFIX = "AGENTCLOCK_"
TARGET_NAME_LENGTH = 64


class TargetKind(StrEnum):
    """What stands behind a base URL. On `agentos` the run endpoints of agents, teams and workflows are called the
    way AgentOS wants it; every other endpoint, and everything on `http`, is a plain request."""

    AGENTOS = "agentos"
    HTTP = "http"


class TargetEntry(BaseModel):
    """A named base URL. `headers` are sent with every request and never stored or shown.

    `in_process`: the app that agentclock is embedded in, called without a network; it needs no base URL.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str = ""
    kind: TargetKind = TargetKind.AGENTOS
    headers: Mapping[str, str] = Field(default_factory=dict, repr=False)
    in_process: bool = False

    @model_validator(mode="after")
    def _check_base_url(self) -> Self:
        if not self.base_url and not self.in_process:
            raise ValueError("a target needs a base_url")
        return self


class LogFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


class Settings(BaseSettings):
    """Everything that can be set. Units are in the names."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid", validate_default=True)

    database: str = Field(
        default="agentclock.db",
        description="A path for SQLite (`:memory:` too), or a postgresql:// URL.",
        repr=False,
    )
    host: str = Field(default="127.0.0.1", description="Address that `serve` listens on.")
    port: int = Field(default=7777, ge=0, le=65_535, description="Port that `serve` listens on.")
    worker_port: int | None = Field(
        default=None,
        ge=0,
        le=65_535,
        description="Port where `worker` answers /metrics, /health and /ready; none: it listens nowhere.",
    )
    targets: Annotated[dict[str, TargetEntry], NoDecode] = Field(
        default_factory=lambda: {"default": TargetEntry(base_url="http://127.0.0.1:8000")},
        description="Named base URLs: name=url,name=url or JSON.",
    )
    concurrency: int = Field(default=100, ge=1, le=10_000, description="Runs that one process executes at a time.")
    poll_seconds: float = Field(
        default=30, ge=0.1, le=300, description="Safety net: longest sleep of a loop when nothing seems due."
    )
    lease_seconds: float = Field(
        default=15, ge=1, le=600, description="A worker silent for this long is dead; others take its runs over."
    )
    lost_after_seconds: float = Field(
        default=120,
        ge=1,
        le=86_400,
        description="An agent run that its AgentOS shows no life of for this long is lost.",
    )
    event_log_events: int = Field(
        default=10_000, ge=100, le=1_000_000, description="Events kept of one run; the newest stay."
    )
    event_log_bytes: int = Field(
        default=1_048_576, ge=65_536, le=104_857_600, description="Bytes of events kept of one run; the newest stay."
    )
    stream_limit: int = Field(default=1_000, ge=1, le=100_000, description="Open event streams of one process.")
    stream_max_seconds: float = Field(
        default=3_600, ge=1, le=86_400, description="An event stream ends after this; clients resume where it ended."
    )
    shutdown_grace_seconds: float = Field(
        default=30, ge=0, le=3600, description="Runs in flight may end within this time at a stop."
    )
    trigger_wait_seconds: float = Field(
        default=25, ge=0, le=300, description="How long a trigger request waits for the run to end, unless it says so."
    )
    connection_limit: int = Field(default=2_000, ge=1, le=100_000, description="Open connections to all targets.")
    response_cap_bytes: int = Field(
        default=262_144, ge=1_024, le=16_777_216, description="How much of a response is kept as the run's output."
    )
    history_days: int | None = Field(
        default=90, ge=1, le=36_500, description="Finished runs older than this are deleted; none keeps them."
    )
    guard_max_schedules: int | None = Field(
        default=20, ge=0, le=1_000_000, description="Schedules that agents may make for one owner; none: any number."
    )
    guard_min_interval_seconds: int | None = Field(
        default=300, ge=1, le=31_536_000, description="Shortest time between fires that an agent may ask for, or none."
    )
    guard_allow_nested: bool = Field(
        default=False, description="Agents may make, change and trigger schedules while they run on one."
    )
    auto_migrate: bool = Field(default=True, description="Bring the schema up to date at start.")
    sqlite_synchronous: Literal["FULL", "NORMAL"] = Field(
        default="FULL", description="NORMAL is quicker and may lose the last moments at a power cut."
    )
    pool_size: int = Field(default=8, ge=2, le=100, description="PostgreSQL connections of one process.")
    pooler: bool = Field(default=False, description="The database URL leads to a transaction pooler (PgBouncer).")
    listen_url: str | None = Field(
        default=None, description="PostgreSQL URL past the pooler, for LISTEN/NOTIFY.", repr=False
    )
    metrics_schedule_limit: int = Field(
        default=200, ge=0, le=10_000, description="Schedules that /metrics counts by name; the rest counts as `other`."
    )
    engine_ping_url: str | None = Field(
        default=None,
        description="Pinged while fires are being planned, for a dead man's switch that watches the engine.",
        repr=False,
    )
    engine_ping_seconds: float = Field(default=60, ge=1, le=86_400, description="How often the engine is pinged for.")
    otel: bool | None = Field(
        default=None,
        description="Export traces with OpenTelemetry; none: if OTEL_EXPORTER_OTLP_ENDPOINT is set.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: LogFormat = LogFormat.TEXT

    @field_validator("targets", mode="before")
    @classmethod
    def _read_targets(cls, value: object) -> object:
        return parse_targets(value) if isinstance(value, str) else value

    @field_validator("targets")
    @classmethod
    def _check_names(cls, targets: dict[str, TargetEntry]) -> dict[str, TargetEntry]:
        # What no schedule could name would be of no use.
        unfit = [name for name in targets if not name.strip() or len(name) > TARGET_NAME_LENGTH]
        if unfit:
            raise ValueError(f"a target's name has 1 to {TARGET_NAME_LENGTH} characters, unlike {unfit[0]!r}")
        return targets

    @field_validator("engine_ping_url")
    @classmethod
    def _check_ping_url(cls, url: str | None) -> str | None:
        if url is not None and (fault := ping_url_fault(url)):
            raise ValueError(fault)
        return url

    @field_validator(
        "worker_port", "history_days", "guard_max_schedules", "guard_min_interval_seconds", "otel", mode="before"
    )
    @classmethod
    def _read_none(cls, value: object) -> object:
        return None if isinstance(value, str) and value.lower() in ("", "none") else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings

    @classmethod
    def load(cls, config_file: Path | None = None, **overrides: Any) -> Self:
        """`overrides` (None: not given) beat the environment, which beats the file.

        Raises ConfigError with every problem at once.
        """
        given = {name: value for name, value in overrides.items() if value is not None}
        try:
            return cls(**(_unset_in_environment(_read_file(config_file)) | given))
        except ValidationError as error:
            raise ConfigError([_sentence(problem) for problem in error.errors()]) from None


def parse_targets(text: str) -> dict[str, object]:
    """`name=url,name=url`, a bare URL (the default target), or a JSON object of either URLs or settings."""
    text = text.strip()
    if text.startswith("{"):
        try:
            named = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"not JSON: {error}") from None
        return {name: {"base_url": value} if isinstance(value, str) else value for name, value in named.items()}
    targets: dict[str, object] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, url = item.partition("=")
        if not equals or "://" in name:
            name, url = "default", item
        if name.strip() in targets:
            raise ValueError(f"target '{name.strip()}' is given twice")
        targets[name.strip()] = {"base_url": url.strip()}
    return targets


def _read_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"config file {path}: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"config file {path}: {error}"]) from None
    section = content.get("agentclock", content)
    return section if isinstance(section, dict) else {}


def _unset_in_environment(values: dict[str, Any]) -> dict[str, Any]:
    """What the file says and the environment does not overrule."""

    present = {name.upper() for name in os.environ}
    return {name: value for name, value in values.items() if f"{ENV_PREFIX}{name.upper()}" not in present}


def _sentence(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"]) or "settings"
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        known = Settings.model_fields if len(problem["loc"]) == 1 else TargetEntry.model_fields
        message = f"no such setting; known are {', '.join(sorted(known))}"
    return f"{where} ({ENV_PREFIX}{where.split('.')[0].upper()}): {message}"
