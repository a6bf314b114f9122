"""Options that several commands share, and settings made from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from agentclock.config import Settings
from agentclock.core.errors import ConfigError

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="AGENTCLOCK_CONFIG", help="TOML file with settings.", show_default=False),
]
Database = Annotated[
    str | None,
    typer.Option(
        "--database", "-d", help="SQLite file or postgresql:// URL. Default: agentclock.db", show_default=False
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        "-t",
        help="name=base URL; repeat for more. Default: default=http://127.0.0.1:8000",
        show_default=False,
    ),
]
Concurrency = Annotated[int | None, typer.Option(help="Runs executed at a time. Default: 100", show_default=False)]
LogLevel = Annotated[str | None, typer.Option(help="debug, info, warning or error. Default: info", show_default=False)]
LogFormatOption = Annotated[str | None, typer.Option(help="text or json. Default: text", show_default=False)]
AllowAnyone = Annotated[
    bool | None,
    typer.Option("--allow-anyone", help="Listen where others can connect although nobody is asked for a token."),
]


def load_settings(config_file: Path | None, targets: list[str] | None = None, **overrides: object) -> Settings:
    """Settings, or exit 2 after listing every problem."""
    if targets:
        overrides["targets"] = ",".join(targets)
    try:
        return Settings.load(config_file, **overrides)
    except ConfigError as error:
        console = Console(stderr=True)
        console.print("The settings cannot be used:", style="bold red")
        for problem in error.problems:
            console.print(f"  - {problem}", highlight=False)
        raise typer.Exit(2) from None
