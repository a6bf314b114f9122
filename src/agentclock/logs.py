"""Log lines for people or machines, on stderr. Never a secret: what is logged is chosen field by field, and what others
log is searched for the secrets that this process knows."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import re
import secrets
import socket
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import urlsplit
from weakref import WeakSet

import structlog
from structlog.types import Processor

from agentclock.config import LogFormat
from agentclock.core.model import Claim, Run
from agentclock.core.zones import tzdata_version


def configure_logging(level: str, log_format: LogFormat) -> None:
    """Sets up structlog and the standard library's logging, which uvicorn and friends use."""
    quiet = Hush()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        _utc_timestamp,
        signature(),
    ]
    renderer: Processor
    if log_format is LogFormat.JSON:
        # Traces without local variables: those may hold payloads and tokens.
        plain = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        shared.append(structlog.processors.ExceptionRenderer(plain))
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    shared.append(quiet)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer, quiet.on_rendered],
    )
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # One line a request, and how the server starts, is noise beside the engine's own; errors still come through.
    for name in ("uvicorn.access", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(is_not_cut_off)


def is_not_cut_off(record: logging.LogRecord) -> bool:
    """False for the traceback of a request that a stop has ended: uvicorn says in a line before it that it does so."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def join_host_logging(level: str) -> None:
    """For life inside another app: our lines go to the loggers `agentclock.*`, and where those lead is the host's
    business. Changes nothing where structlog is set up already."""
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.filter_by_level,
            signature(),
            structlog.dev.ConsoleRenderer(0, colors=False, exception_formatter=structlog.dev.plain_traceback),
            Hush(),
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=False,
    )


class Secretive(Protocol):
    """Knows secrets. Real: executor.discretion.Discretion."""

    @property
    def is_idle(self) -> bool:
        """Whether it knows none."""

    def text(self, text: str) -> str:
        """`text` without them."""


class Hush:
    """Takes out of every line what those who are `heed`ed know for secrets, as long as anybody needs them."""

    def __init__(self) -> None:
        self._discretions: WeakSet[Secretive] = WeakSet()

    def heed(self, discretion: Secretive) -> None:
        self._discretions.add(discretion)

    def __call__(self, _logger: Any, _method: str, line: Any) -> Any:
        """`line`: the fields of it, or the text that it became."""
        for discretion in tuple(self._discretions):
            if not discretion.is_idle:
                line = _hushed(line, discretion)
        return line

    def on_rendered(self, logger: Any, method: str, line: Any) -> Any:
        """The traces in it were only now written down. JSON has been searched field by field."""
        return line if isinstance(line, str) and line.startswith("{") else self(logger, method, line)


def hush(discretion: Secretive) -> None:
    """Our log lines tell nothing of what `discretion` knows, from now on. Lines that somebody else's set-up of
    structlog writes are his business."""
    for processor in structlog.get_config()["processors"]:
        if isinstance(processor, Hush):
            processor.heed(discretion)


def _hushed(value: Any, discretion: Secretive) -> Any:
    match value:
        case str():
            return discretion.text(value)
        case dict():
            return {name: _hushed(item, discretion) for name, item in value.items()}
        case list() | tuple():
            return [_hushed(item, discretion) for item in value]
        case bool() | int() | float() | None:
            return value
        case _:
            said, hushed = str(value), discretion.text(str(value))
            return value if hushed == said else hushed


def process_name() -> str:
    """What this process is called among the workers: its host and its number there."""
    return f"{socket.gethostname()}:{os.getpid()}"


def signature() -> Processor:
    """Puts on every line which process wrote it. `instance` tells processes apart that have the same name one after
    the other, as in containers."""
    worker, instance = process_name(), secrets.token_hex(4)

    def sign(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        line.setdefault("worker", worker)
        line["instance"] = instance
        return line

    return sign


def run_facts(run: Run, schedule_name: str) -> dict[str, object]:
    """What every line about a run says."""
    return {"schedule": schedule_name, "schedule_id": run.schedule_id, "run": run.id, "attempt": run.attempt}


def about_run(claim: Claim) -> None:
    """Whatever is logged from now on in this task, and in those that it starts, says which run it is about."""
    structlog.contextvars.bind_contextvars(**run_facts(claim.run, claim.schedule.name))


def log_start(version: str, database: str) -> None:
    """The first line of a process."""
    facts = {"version": version, "database": shown_database(database), "zone_data": tzdata_version()}
    structlog.get_logger("agentclock").info("starting", **facts, python=platform.python_version())


_SECRET_OPTION = re.compile(r"(?<![A-Za-z])((?:ssl)?password|passfile|sslkey)=[^&\s]*", re.IGNORECASE)


def shown_database(database: str) -> str:
    """The setting `database` without passwords: neither those before the host nor those among the options."""
    if "://" not in database:
        return database
    try:
        parts = urlsplit(database)
    except ValueError:
        return database.partition("://")[0]
    user, at, host = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    shown = parts._replace(netloc=f"{name}{at}{host}").geturl() if at else database
    return _SECRET_OPTION.sub(r"\1=***", shown)


def _utc_timestamp(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """ISO 8601 in UTC with milliseconds."""
    line["timestamp"] = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return line
