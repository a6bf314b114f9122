"""Questions to the person at the terminal."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from agentclock.cli.client import ExitCode, Trouble
from agentclock.cli.output import harmless


def confirm(question: str, *, is_sure: bool) -> None:
    """Returns if the answer is yes. `is_sure`: nobody need be asked. Raises Trouble: it is no, or nobody is there."""
    if is_sure:
        return
    if not sys.stdin.isatty():
        raise Trouble(f"{question} Nobody is here to be asked: say --yes", ExitCode.USAGE)
    try:
        with _interruptible():
            is_wanted = typer.confirm(harmless(question), err=True)
    except typer.Abort:
        raise Trouble("\nNothing was done.", ExitCode.INTERRUPTED) from None
    if not is_wanted:
        raise Trouble("Nothing was done.", ExitCode.FAILED)


def confirm_if_anybody_is_there(question: str, *, is_sure: bool) -> None:
    """As `confirm`, but where nobody can be asked the command line itself is the word."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        confirm(question, is_sure=is_sure)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C ends the question: the event loop around it would only take note."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
