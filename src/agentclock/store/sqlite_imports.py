"""Finished runs from elsewhere, into SQLite: one operation inside a transaction of its caller."""

from __future__ import annotations

from collections.abc import Sequence

from agentclock.core.model import Attempt, Run
from agentclock.store.imports import encode_attempt
from agentclock.store.rows import encode_run
from agentclock.store.sqlite_file import Session


def insert_history(session: Session, runs: Sequence[Run], attempts: Sequence[Attempt]) -> int:
    written = sum(session.run("import_run", **encode_run(run)) for run in runs)
    session.run_many("import_attempt", map(encode_attempt, attempts))
    return written
