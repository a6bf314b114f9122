"""What may happen to an SQLite file behind our back: it is moved away, or another process writes it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from agentclock.core.errors import StoreUnavailable
from agentclock.store.sqlite_file import MEMORY

#: Releases of SQLite that may corrupt a file in WAL mode when two connections write it (first, last).
WAL_RESET_BUG: Final = ((3, 7, 0), (3, 51, 2))


class FileWatch:
    """One database file as it was when it was opened. Everything here blocks for a moment: not for the event loop."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._inode: int | None = None
        self._data_version: int | None = None
        self._written_elsewhere = False

    def remember_file(self) -> None:
        self._inode = self._inode_now()

    def check_file(self) -> None:
        """SQLite goes on writing into a file that was deleted or moved, and nobody would ever see it.

        Raises StoreUnavailable.
        """
        if self._inode != self._inode_now():
            raise StoreUnavailable(f"the database file {self._path} was moved, deleted or replaced: restart agentclock")

    def remember_content(self, writer: sqlite3.Connection) -> None:
        self._data_version = _data_version(writer)

    def warnings(self, writer: sqlite3.Connection, *, shared: bool) -> tuple[str, ...]:
        """`shared`: another process is known to use the file."""
        # The writer's own commits leave this number alone: it tells whether another connection wrote.
        self._written_elsewhere |= _data_version(writer) != self._data_version
        if not (shared or self._written_elsewhere) or not may_reset_wal(sqlite3.sqlite_version_info):
            return ()
        return (
            f"SQLite {sqlite3.sqlite_version} may corrupt a file that two processes write, and another process "
            "uses this one; upgrade SQLite to 3.51.3, or let one process alone write",
        )

    def _inode_now(self) -> int | None:
        path = Path(self._path)
        return path.stat().st_ino if self._path != MEMORY and path.exists() else None


def may_reset_wal(version: tuple[int, ...]) -> bool:
    first, last = WAL_RESET_BUG
    return first <= version <= last


def _data_version(connection: sqlite3.Connection) -> int:
    found: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return found
