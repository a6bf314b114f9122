"""The command line begins quickly: nothing is imported for commands that are not used."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from agentclock.cli.lazy import Deferred
from agentclock.cli.main import COMMANDS, app

SLOW = ("aiohttp", "asyncpg", "fastapi", "pydantic", "sqlite3", "uvicorn", "yaml", "agentclock.app", "agentclock.core")


def imported_by(*arguments: str) -> set[str]:
    program = (
        "import json, sys\nfrom agentclock.cli.main import app\n"
        "try: app(sys.argv[1:])\nfinally: print(json.dumps(list(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr))


def test_help_imports_no_command() -> None:
    assert not imported_by("--help") & {*SLOW, *(entry.place.partition(":")[0] for entry in COMMANDS)}


def test_commands_over_the_api_import_neither_server_nor_store() -> None:
    loaded = imported_by("runs", "--help")
    assert "agentclock.cli.runs" in loaded
    assert not loaded & {"aiohttp", "fastapi", "sqlite3", "uvicorn", "agentclock.app", "agentclock.store"}


def group() -> Any:
    return typer.main.get_command(app)


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_lists_say_what_the_command_itself_says(entry: Any) -> None:
    """The words stand in two places: whoever lists commands does not load them."""
    listed = group().commands[entry.name]
    assert isinstance(listed, Deferred)
    whole = " ".join(str(listed.real.help).split())
    assert whole.startswith(entry.help)
    assert entry.help.endswith(".")


def commands(found: Any, path: str = "") -> dict[str, Any]:
    collected = {}
    for name, listed in found.commands.items():
        command = getattr(listed, "real", listed)
        within = commands(command, f"{path}{name} ") if hasattr(command, "commands") else {path + name: command}
        collected |= within
    return collected


def test_every_command_has_an_example_of_its_own() -> None:
    for name, command in commands(group()).items():
        assert f"agentclock {name}" in (command.epilog or ""), name


def test_a_slip_is_answered_with_what_was_meant() -> None:
    refused = CliRunner().invoke(app, ["shcedules"])
    assert refused.exit_code == 2
    assert "schedules" in refused.output
