"""Records that survive whoever wrote them: one JSON object a line, flushed at once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def now_ms() -> int:
    """Milliseconds since the epoch; one clock for all processes of this machine."""
    return time.time_ns() // 1_000_000


class Journal:
    """Appends to a file, across restarts of the process that writes."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def note(self, what: str, **facts: Any) -> None:
        self._file.write(json.dumps({"at": now_ms(), "what": what, **facts}, default=str) + "\n")
        self._file.flush()


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """What was noted. A last line that was cut off by kill -9 is no record."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)
