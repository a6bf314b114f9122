"""Which API a command speaks to, and how."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agentclock.cli.client import Client, ExitCode, Trouble

#: Where `agentclock serve` listens and keeps its database, unless it is told otherwise.
USUAL_URL: Final = "http://127.0.0.1:7777"
USUAL_DATABASE: Final = "agentclock.db"

_NOTHING_THERE: Final = (
    f"Nothing to speak to: no server answers on {USUAL_URL}, and there is no {USUAL_DATABASE} here.\n"
    "Say where it is with --url https://... (or AGENTCLOCK_URL) or --database FILE_OR_URL (or AGENTCLOCK_DATABASE), "
    "or start one: agentclock serve"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What the command line says of it."""

    url: str | None = None
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    database: str | None = None
    config_file: Path | None = None


@asynccontextmanager
async def connected(wanted: Connection) -> AsyncIterator[Client]:
    """By `--url` or `--database`; else by AGENTCLOCK_URL, by AGENTCLOCK_DATABASE or the file of settings, then to a
    server of this machine that answers, then to the database in this folder. Raises Trouble."""
    if wanted.url and wanted.database:
        raise Trouble("--url and --database exclude each other: a server has its own database", ExitCode.USAGE)
    url = await _url_of(wanted)
    if url is None:
        from agentclock.cli.local import on_database  # noqa: PLC0415 - takes long, and most do without

        async with on_database(wanted.database, wanted.config_file) as client:
            yield client
        return
    from agentclock.cli.network import over_network  # noqa: PLC0415

    async with over_network(url, _token_of(wanted)) as client:
        yield client


async def _url_of(wanted: Connection) -> str | None:
    """None: the database itself."""
    if wanted.url or wanted.database:
        return wanted.url
    if url := os.environ.get("AGENTCLOCK_URL"):
        return url
    if os.environ.get("AGENTCLOCK_DATABASE") or _settings_name_a_database(wanted.config_file):
        return None
    from agentclock.cli.network import answers  # noqa: PLC0415

    if await answers(USUAL_URL):
        return USUAL_URL
    if Path(USUAL_DATABASE).exists():  # noqa: ASYNC240 - one look, before anything else goes on
        return None
    raise Trouble(_NOTHING_THERE, ExitCode.UNAVAILABLE)


def _settings_name_a_database(config_file: Path | None) -> bool:
    if config_file is None:
        return False
    from agentclock.cli.options import load_settings  # noqa: PLC0415

    return "database" in load_settings(config_file).model_fields_set


def _token_of(wanted: Connection) -> str | None:
    """What the command line says, else what the environment says. Raises Trouble."""
    if wanted.token and wanted.token_file:
        raise Trouble("--token and --token-file exclude each other", ExitCode.USAGE)
    if wanted.token or wanted.token_file:
        return wanted.token or _read_token("--token-file", wanted.token_file)
    if token := os.environ.get("AGENTCLOCK_TOKEN"):
        return token
    named = os.environ.get("AGENTCLOCK_TOKEN_FILE")
    return _read_token("AGENTCLOCK_TOKEN_FILE", Path(named)) if named else None


def _read_token(source: str, path: Path | None) -> str | None:
    """Raises Trouble."""
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise Trouble(f"{source} {path}: {why}", ExitCode.USAGE) from None
