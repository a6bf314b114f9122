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

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from agentclock.config.entries import NAME_LENGTH, LogFormat, TargetEntry, WebhookEntry
from agentclock.config.safety import SafetySettings
from agentclock.config.sources import (
    ENV_PREFIX,
    borrowed,
    parse_targets,
    read_file,
    read_named_files,
    unset_in_environment,
)
from agentclock.core.errors import ConfigError
from agentclock.core.pings import ping_url_fault

_WEBHOOK_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_DASHBOARD_PATH = re.compile(r"/|(/[A-Za-z0-9_.-]+)+")


class Settings(SafetySettings):
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
    public_url: str | None = Field(
        default=None, description="Where people and outside clocks reach this server; none: http://<host>:<port>."
    )
    webhooks: dict[str, WebhookEntry] = Field(
        default={}, description="Who is told of failures, misses and the like: JSON, or a table in the file."
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
    dashboard_path: str | None = Field(
        default=None,
        max_length=200,
        description="Where the dashboard is: a path such as /scheduler; none: / of `agentclock serve`, /scheduler "
        "inside another app; off: nowhere.",
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
        unfit = [name for name in targets if not name.strip() or len(name) > NAME_LENGTH]
        if unfit:
            raise ValueError(f"a target's name has 1 to {NAME_LENGTH} characters, unlike {unfit[0]!r}")
        return targets

    @field_validator("dashboard_path")
    @classmethod
    def _check_dashboard_path(cls, path: str | None) -> str | None:
        if path is not None and path != "off" and not _DASHBOARD_PATH.fullmatch(path):
            raise ValueError("is a path of letters, digits, '_', '-' and '.' such as /scheduler, or off")
        return path

    @field_validator("webhooks")
    @classmethod
    def _check_webhook_names(cls, webhooks: dict[str, WebhookEntry]) -> dict[str, WebhookEntry]:
        unfit = [name for name in webhooks if not _WEBHOOK_NAME.fullmatch(name)]
        if unfit:
            raise ValueError(f"a webhook's name has 1 to 64 letters, digits, '_', '.' and '-', unlike {unfit[0]!r}")
        return webhooks

    @field_validator("port", "worker_port", mode="before")
    @classmethod
    def _without_links(cls, value: object) -> object:
        """Kubernetes tells containers of a service named agentclock by AGENTCLOCK_PORT=tcp://... That is no port."""
        if isinstance(value, str) and value.startswith("tcp://"):
            return cls.model_fields["port"].default
        return value

    @field_validator("engine_ping_url")
    @classmethod
    def _check_ping_url(cls, url: str | None) -> str | None:
        if url is not None and (fault := ping_url_fault(url)):
            raise ValueError(fault)
        return url

    @field_validator(
        "worker_port",
        "history_days",
        "guard_max_schedules",
        "guard_min_interval_seconds",
        "schedules_per_owner",
        "otel",
        mode="before",
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
        lesser = borrowed() | read_file(config_file) | read_named_files()
        try:
            return cls(**(unset_in_environment(lesser) | given))
        except ValidationError as error:
            raise ConfigError([_sentence(problem) for problem in error.errors()]) from None
        except SettingsError as error:
            # It names the setting; what was set stays with its cause.
            raise ConfigError([f"{ENV_PREFIX}*: {error}: it must be JSON"]) from None


def _sentence(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"]) or "settings"
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        entry = WebhookEntry if problem["loc"][0] == "webhooks" else TargetEntry
        known = Settings.model_fields if len(problem["loc"]) == 1 else entry.model_fields
        message = f"no such setting; known are {', '.join(sorted(known))}"
    return f"{where} ({ENV_PREFIX}{where.split('.')[0].upper()}): {message}"
