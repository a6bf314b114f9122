"""Who runs the engine on an SQLite file: an exclusive file lock that the operating system frees at death."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import weakref
from pathlib import Path
from typing import Final

from agentclock.core.errors import StoreUnavailable

_UNKNOWN: Final = "another process"


class EngineLock:
    """`<database>.lock`; its text (process, host, name) is for people and for the processes that stand by."""

    def __init__(self, database: str) -> None:
        self._path = Path(os.path.realpath(database) + ".lock")
        self._descriptor: int | None = None

    def acquire(self, name: str) -> str | None:
        """None: ours now; else the owner's name. Raises StoreUnavailable if the file cannot be used."""
        if self._descriptor is not None:
            _write(self._descriptor, name)
            return None
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreUnavailable(f"the engine's lock file cannot be opened: {error}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write(descriptor, name)
        except BlockingIOError:
            owner = _read(descriptor)
            os.close(descriptor)
            return owner
        except OSError as error:
            os.close(descriptor)
            raise StoreUnavailable(f"the engine's lock file {self._path} cannot be locked: {error}") from error
        self._descriptor = descriptor
        _drop_in_children(self)
        return None

    def release(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.ftruncate(descriptor, 0)
            os.close(descriptor)

    def drop(self) -> None:
        """In a forked child: the lock is its parent's, and must not outlive it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _drop_in_children(lock: EngineLock) -> None:
    drop = weakref.WeakMethod(lock.drop)

    def after_fork() -> None:
        method = drop()
        if method is not None:
            method()

    os.register_at_fork(after_in_child=after_fork)


def _write(descriptor: int, name: str) -> None:
    text = f"pid {os.getpid()}\nhost {socket.gethostname()}\nname {' '.join(name.split())}\n"
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode("utf-8", "replace"), 0)


def _read(descriptor: int) -> str:
    with contextlib.suppress(OSError):
        text = os.pread(descriptor, 4096, 0).decode("utf-8", "replace")
        for line in text.splitlines():
            if line.startswith("name "):
                return line.removeprefix("name ")
    return _UNKNOWN
