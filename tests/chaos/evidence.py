"""What is left of a run for the checker: rows, and what the targets, the proxy and the rig itself have noted."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from tests.chaos.journal import read_journal

Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request that reached a target. `answer`: the status that was sent whole, else what happened instead (half,
    reset, gone), None: nothing before the target ended."""

    at: int
    method: str
    path: str
    key: str
    run: str
    attempt: int
    schedule: str
    answer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """An agent that began to work, under the id of its agent run."""

    at: int
    agent_run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """A fault that was carried out. `worker`: the number of its victim, 0: all of them or none in particular."""

    kind: str
    began_at: int
    ended_at: int
    worker: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """`connects`: when each worker tried to connect to the database. `promises`: what the API has confirmed.
    `complaints`: what went wrong with processes, in words."""

    schedules: Sequence[Row] = ()
    runs: Sequence[Row] = ()
    attempts: Sequence[Row] = ()
    revisions: Sequence[Row] = ()
    calls: Sequence[Call] = ()
    starts: Sequence[Start] = ()
    disturbances: Sequence[Disturbance] = ()
    connects: Mapping[int, Sequence[int]] = field(default_factory=dict)
    promises: Sequence[Row] = ()
    recoveries: Sequence[Row] = ()
    complaints: Sequence[str] = ()


def agent_run_id(run_id: str, attempt: int) -> str:
    """The id under which agentclock asks AgentOS to run an agent."""
    return str(uuid.uuid5(uuid.UUID(run_id), f"attempt-{attempt}"))


def read_calls(path: Path) -> Iterator[Call]:
    """Calls with their answers. A target that was started again counts from one again."""
    waiting: dict[int, dict[str, Any]] = {}
    for note in read_journal(path):
        if note["what"] == "call":
            if (dropped := waiting.pop(note["number"], None)) is not None:
                yield _call(dropped, None)
            waiting[note["number"]] = note
        elif note["what"] == "answer" and (call := waiting.pop(note["number"], None)) is not None:
            yield _call(call, note["answer"])
    for call in waiting.values():
        yield _call(call, None)


def _call(note: dict[str, Any], answer: str | None) -> Call:
    return Call(
        at=note["at"],
        method=note["method"],
        path=note["path"],
        key=note["key"] or "",
        run=note["run"] or "",
        attempt=int(note["attempt"] or 0),
        schedule=note["schedule"] or "",
        answer=answer,
    )


def read_starts(path: Path) -> Iterator[Start]:
    for note in read_journal(path):
        if note["what"] == "start":
            yield Start(at=note["at"], agent_run=note["agent_run"])


def read_disturbances(path: Path) -> Iterator[Disturbance]:
    for note in read_journal(path):
        if note["what"] == "over":
            yield Disturbance(
                kind=note["kind"], began_at=note["began"], ended_at=note["at"], worker=int(note["worker"])
            )


def read_connects(path: Path) -> dict[int, list[int]]:
    """By worker, the instants at which it tried to connect to the database."""
    connects: dict[int, list[int]] = {}
    for note in read_journal(path):
        name, _, number = note["link"].partition(".")
        if note["what"] == "attempt" and name == "db":
            connects.setdefault(int(number), []).append(note["at"])
    return connects


def read_evidence(folder: Path) -> Evidence:
    """All that a run has left in its folder."""
    notes = list(read_journal(folder / "rig.jsonl"))
    return Evidence(
        schedules=list(read_journal(folder / "schedules.jsonl")),
        runs=list(read_journal(folder / "runs.jsonl")),
        attempts=list(read_journal(folder / "attempts.jsonl")),
        revisions=list(read_journal(folder / "schedule_revisions.jsonl")),
        calls=[*read_calls(folder / "target.jsonl"), *read_calls(folder / "agentos.jsonl")],
        starts=list(read_starts(folder / "agentos.jsonl")),
        disturbances=list(read_disturbances(folder / "rig.jsonl")),
        connects=read_connects(folder / "proxy.jsonl"),
        promises=[note for note in notes if note["what"] in ("created", "changed", "triggered")],
        recoveries=[note for note in notes if note["what"] == "recovered"],
        complaints=[note["text"] for note in notes if note["what"] == "complaint"],
    )
