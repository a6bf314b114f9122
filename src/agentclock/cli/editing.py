"""A schedule's fields as text that a person edits."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from agentclock.cli.client import ExitCode, Row, Trouble
from agentclock.cli.output import to_json
from agentclock.drafts import SchedulePatch

#: What may be changed, in the order in which it is shown.
EDITABLE: Final = tuple(SchedulePatch.model_fields)

_REMARK: Final = "# !"
_HEAD: Final = (
    "# Change what is to be different, save, and leave the editor. An empty file changes nothing.",
    "# At most one of cron_expr, run_at and interval_seconds is set. Lines that begin with # are left out.",
)


def to_text(fields: Row, remarks: Sequence[str] = ()) -> str:
    """The fields as JSON, which is YAML too, below the remarks."""
    return "\n".join((*_remarks(remarks), *_HEAD, to_json(fields), ""))


def from_text(text: str) -> Row | None:
    """None: nothing is left. YAML is read where it is installed. Raises ValueError, with what is wrong."""
    kept = "\n".join("" if line.lstrip().startswith("#") else line for line in text.splitlines())
    if not kept.strip():
        return None
    fields = _parsed(kept)
    if not isinstance(fields, dict):
        raise ValueError("it must be an object of fields")  # noqa: TRY004 - of a text, not of a call
    return fields


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        if find_spec("yaml") is None:
            raise
    import yaml  # noqa: PLC0415 - not everybody has it

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def with_remark(text: str, remark: str) -> str:
    """What was written, below what is wrong with it."""
    kept = [line for line in text.splitlines() if not line.startswith(_REMARK)]
    return "\n".join((*_remarks([remark]), *kept, ""))


def _remarks(remarks: Sequence[str]) -> list[str]:
    return [f"{_REMARK} {line}" for remark in remarks for line in remark.splitlines()]


def changes_of(before: Row, after: Row) -> Row:
    """Fields with other values than before; those that are gone become null."""
    changed = {name: value for name, value in after.items() if name not in before or before[name] != value}
    return changed | {name: None for name in before if name not in after and before[name] is not None}


def edited(text: str, name: str) -> str:
    """What the person's editor makes of the text. Raises Trouble."""
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="agentclock-") as folder:
        path = Path(folder, f"{name or 'schedule'}.yaml")
        path.write_text(text, encoding="utf-8")
        try:
            done = subprocess.run([*shlex.split(command), str(path)], check=False)
        except (OSError, ValueError) as error:
            raise Trouble(f"the editor {command!r} cannot be started: {error}", ExitCode.USAGE) from None
        if done.returncode:
            raise Trouble(f"the editor ended with code {done.returncode}: nothing was changed", ExitCode.FAILED)
        return path.read_text(encoding="utf-8")
