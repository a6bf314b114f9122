"""Stores on files, and other processes on the same file, for the tests of what only SQLite has."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

from agentclock.store.sqlite import SqliteStore
from agentclock.testing import FakeClock

SCRIPT = Path(__file__).with_name("sqlite_processes.py")


def make(folder: Path, clock: FakeClock | None = None, **options: Any) -> SqliteStore:
    return SqliteStore(str(folder / "agentclock.db"), clock=clock or FakeClock(), **options)


async def start(what: str, folder: Path) -> Process:
    """Another process that does `what` on the file that `make` uses."""
    database = str(folder / "agentclock.db")
    return await asyncio.create_subprocess_exec(sys.executable, str(SCRIPT), what, database, stdin=PIPE, stdout=PIPE)


async def line(process: Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()
