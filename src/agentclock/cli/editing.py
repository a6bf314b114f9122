"""A schedule's fields as text that a person edits."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from agentclock.cli.client import ExitCode, Row, Trouble
from agentclock.declaring.json_text import is_json, read_json
from agentclock.declaring.tree import Builder, Unreadable, plain
from agentclock.declaring.yaml_text import read_yaml
from agentclock.drafts import SchedulePatch
from agentclock.exporting import to_yaml

#: What may be changed, in the order in which it is shown.
EDITABLE: Final = tuple(SchedulePatch.model_fields)

_REMARK: Final = "# !"
_HEAD: Final = (
    "# Change what is to be different, save, and leave the editor. An empty file changes nothing.",
    "# At most one of cron_expr, run_at and interval_seconds is set.",
)


def to_text(fields: Row) -> str:
    """The fields as YAML."""
    return "\n".join((*_HEAD, to_yaml(fields)))


def from_text(text: str) -> Row | None:
    """None: nothing is left. JSON will do as well. Raises ValueError, with every fault and the line that it is in."""
    builder = Builder()
    faults = builder.faults
    try:
        (read_json if is_json(text) else read_yaml)(text, "", builder)
    except Unreadable as error:
        faults.append(error.fault)
    if faults:
        lines = ["", *text.splitlines(), ""]
        raise ValueError("\n".join(f"{lines[fault.place.line].strip()!r}: {fault.message}" for fault in faults))
    fields = plain(builder.documents[0]) if builder.documents else None
    if not isinstance(fields, dict | None):
        raise ValueError("it must be names of fields with their values")  # noqa: TRY004 - of a text, not of a call
    return fields


def with_remark(text: str, remark: str) -> str:
    """What was written, below what is wrong with it."""
    kept = [line for line in text.splitlines() if not line.startswith(_REMARK)]
    return "\n".join((*(f"{_REMARK} {line}" for line in remark.splitlines()), *kept, ""))


def changes_of(before: Row, after: Row) -> Row:
    """Fields with other values than before; those that are gone become null."""
    changed = {name: value for name, value in after.items() if name not in before or before[name] != value}
    return changed | {name: None for name in before if name not in after and before[name] is not None}


def edited(text: str) -> str:
    """What the person's editor makes of the text. Raises Trouble."""
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="agentclock-") as folder:
        path = Path(folder, "schedule.yaml")
        path.write_text(text, encoding="utf-8")
        try:
            done = subprocess.run([*shlex.split(command), str(path)], check=False)
        except (OSError, ValueError) as error:
            raise Trouble(f"the editor {command!r} cannot be started: {error}", ExitCode.USAGE) from None
        if done.returncode:
            raise Trouble(f"the editor ended with code {done.returncode}: nothing was changed", ExitCode.FAILED)
        return path.read_text(encoding="utf-8")
