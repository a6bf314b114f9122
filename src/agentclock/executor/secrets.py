"""Secrets by name: from the environment, a folder or a file, as they are now. Nothing of them is ever stored or shown.

A secret that changes is sent in its new form within a second, without a restart.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import stat
import time
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agentclock.core.errors import AgentclockError
from agentclock.core.model import Json
from agentclock.core.references import filled, secret_names
from agentclock.executor.blotting import SHORTEST_SECRET
from agentclock.executor.discretion import Discretion

ENV_PREFIX: Final = "AGENTCLOCK_SECRET_"

#: How long what was read from a file is used.
FRESH_SECONDS: Final = 1.0

#: A secret is no document.
SECRET_BYTES: Final = 64 * 1024
FILE_BYTES: Final = 1024 * 1024

#: So many values that a secret had before are still looked for in what targets say.
FORMER_VALUES: Final = 3

_NOT_IN_VARIABLES: Final = re.compile(r"[^A-Z0-9]")


class SecretUnknown(AgentclockError):
    """A secret that is not there, or is of no use. The text is for people and holds nothing of its value."""


class Secrets:
    """Finds a secret NAME in the variable AGENTCLOCK_SECRET_<NAME> (in capitals, all but letters and digits as `_`),
    else in the file NAME of `folder`, else among the texts at the top of the TOML `file`. `discretion` learns each
    that is used."""

    def __init__(
        self,
        *,
        folder: Path | None = None,
        file: Path | None = None,
        environment: Mapping[str, str] | None = None,
        discretion: Discretion | None = None,
    ) -> None:
        self._folder = folder
        self._file = file
        self._environment = os.environ if environment is None else environment
        self._discretion = discretion or Discretion()
        self._read: dict[str, _Read] = {}
        self._values: dict[str, tuple[str, ...]] = {}

    async def filled(self, value: Json) -> Json:
        """`value` with secrets in place of the references to them. Raises SecretUnknown."""
        names = secret_names(value)
        return filled(value, await self.values(names))

    async def values(self, names: Iterable[str]) -> dict[str, str]:
        """Raises SecretUnknown."""
        return {name: await self._value(name) for name in sorted(names)}

    def seen(self, names: Collection[str]) -> set[str]:
        """The values that these secrets had lately, as far as this process has used them."""
        return {value for name in names for value in self._values.get(name, ())}

    async def _value(self, name: str) -> str:
        value = self._environment.get(variable_of(name)) or await self._from_files(name)
        if len(value) < SHORTEST_SECRET:
            length = f"less than {SHORTEST_SECRET} characters"
            raise SecretUnknown(f"secret '{name}' has {length}: it could not be hidden in what targets say")
        self._discretion.note([value])
        former = self._values.get(name, ())
        if value not in former[:1]:
            self._values[name] = (value, *(old for old in former if old != value))[: FORMER_VALUES + 1]
        return value

    async def _from_files(self, name: str) -> str:
        read = self._read.get(name)
        if read is None or time.monotonic() - read.at >= FRESH_SECONDS:
            read = self._read[name] = await asyncio.to_thread(self._look_up, name)
            if len(self._read) > _REMEMBERED:
                self._read.pop(next(iter(self._read)))
        if read.problem is not None:
            raise SecretUnknown(read.problem)
        return read.value

    def _look_up(self, name: str) -> _Read:
        """Off the event loop."""
        now = time.monotonic()
        try:
            value = self._in_folder(name)
            if value is None:
                value = self._in_file(name)
        except _Unreadable as error:
            return _Read(at=now, problem=f"secret '{name}' cannot be read: {error}")
        return _Read(at=now, problem=self._not_known(name)) if value is None else _Read(at=now, value=value)

    def _in_folder(self, name: str) -> str | None:
        if self._folder is None or name.startswith(".."):
            return None
        try:
            folder, path = self._folder.resolve(strict=True), (self._folder / name).resolve(strict=True)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _Unreadable(f"{self._folder / name}: {error.strerror}") from None
        except RuntimeError:
            raise _Unreadable(f"{self._folder / name} leads in a circle") from None
        if not path.is_relative_to(folder):
            raise _Unreadable(f"{self._folder / name} leads out of the folder")
        text = _text_of(path, SECRET_BYTES)
        return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text

    def _in_file(self, name: str) -> str | None:
        if self._file is None:
            return None
        try:
            content: dict[str, Any] = tomllib.loads(_text_of(self._file, FILE_BYTES))
        except tomllib.TOMLDecodeError:
            # What the parser says of the place may quote it.
            raise _Unreadable(f"{self._file} is not TOML") from None
        value = content.get(name)
        if value is not None and not isinstance(value, str):
            raise _Unreadable(f"{self._file} has no text by this name")
        return value

    def _not_known(self, name: str) -> str:
        ways = [f"set {variable_of(name)}"]
        ways += [f"write the file {self._folder / name}"] if self._folder is not None else []
        ways += [f"add it to {self._file}"] if self._file is not None else []
        return f"secret '{name}' is not known: {' or '.join(ways)}"


def variable_of(name: str) -> str:
    """The environment variable of a secret."""
    return ENV_PREFIX + _NOT_IN_VARIABLES.sub("_", name.upper())


#: What was read of so many secrets is remembered; schedules decide which ones are asked for.
_REMEMBERED: Final = 1_000


class _Unreadable(Exception):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """`at`: when, on the monotonic clock."""

    at: float
    value: str = ""
    problem: str | None = None


def _text_of(path: Path, limit: int) -> str:
    """Raises _Unreadable, for anything that is no ordinary file too."""
    try:
        # Without waiting: somebody may have put a pipe there.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise _Unreadable(f"{path} is no ordinary file")
            content = file.read(limit + 1)
    except OSError as error:
        raise _Unreadable(f"{path}: {error.strerror or errno.errorcode.get(error.errno or 0, 'unknown')}") from None
    if len(content) > limit:
        raise _Unreadable(f"{path} is larger than {limit} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise _Unreadable(f"{path} is not text in UTF-8") from None
