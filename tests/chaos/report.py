"""The outcome of a run in one table, and the same as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from tests.chaos.checker import RULES, Books, Violation, connects_while_away
from tests.chaos.evidence import Disturbance, Evidence

_SHOWN: Final = 5
_PERCENTILES: Final = (50, 90, 99, 100)
#: Runs of these schedules start when they are due, unless something holds them up.
_PROMPT: Final = frozenset({"skip", "allow"})
#: A fire this soon before a fault may not have been called yet when that struck.
_PROMPT_MS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Lateness:
    """Milliseconds from the fire time to the first call's arrival, by percentile."""

    runs: int
    by_percentile: dict[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a run came to. `calm` and `troubled`: fires far from any fault, and all others."""

    seed: str
    minutes: float
    workers: int
    fires_due: int
    runs: int
    skipped: int
    missed: int
    ends: dict[str, int]
    calls: int
    agent_starts: int
    attempts: int
    faults: dict[str, int]
    calm: Lateness
    troubled: Lateness
    recoveries: int
    slowest_recovery_ms: int
    connects_a_second: int
    doctor: str
    violations: tuple[Violation, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def lost(self) -> int:
        return self.fires_due - self.runs - self.skipped - self.missed


def report(
    evidence: Evidence,
    violations: Sequence[Violation],
    *,
    seed: str,
    minutes: float,
    workers: int,
    doctor: str,
    recovery_ms: int,
) -> Report:
    """`recovery_ms`: how long after a fault a late fire still counts as troubled."""
    books = Books(evidence)
    accounts = books.accounts.values()
    calm, troubled = _lateness(books, evidence.disturbances, recovery_ms)
    return Report(
        seed=seed,
        minutes=minutes,
        workers=workers,
        fires_due=sum(found.due for found in accounts),
        runs=sum(found.runs for found in accounts),
        skipped=sum(found.skipped for found in accounts),
        missed=sum(found.missed for found in accounts),
        ends=dict(Counter(row["status"] for row in evidence.runs)),
        calls=len(evidence.calls),
        agent_starts=len(evidence.starts),
        attempts=len(evidence.attempts),
        faults=dict(Counter(fault.kind for fault in evidence.disturbances)),
        calm=calm,
        troubled=troubled,
        recoveries=len(evidence.recoveries),
        slowest_recovery_ms=max((note["took_ms"] for note in evidence.recoveries), default=0),
        connects_a_second=max(connects_while_away(evidence).values(), default=0),
        doctor=doctor,
        violations=tuple(violations),
    )


def _lateness(books: Books, faults: Sequence[Disturbance], recovery_ms: int) -> tuple[Lateness, Lateness]:
    """Of fires that were planned in time and had nothing to wait for but us."""
    calm: list[int] = []
    troubled: list[int] = []
    for run in books.evidence.runs:
        schedule = books.schedules[run["schedule_id"]]
        calls = books.calls.get((run["id"], 1))
        if not calls or run["cause"] != "schedule" or schedule["jitter_seconds"] or schedule["overlap"] not in _PROMPT:
            continue
        at = run["fire_at"]
        near = any(fault.began_at - _PROMPT_MS <= at <= fault.ended_at + recovery_ms for fault in faults)
        (troubled if near else calm).append(min(call.at for call in calls) - at)
    return _percentiles(calm), _percentiles(troubled)


def _percentiles(late: list[int]) -> Lateness:
    late.sort()
    found = {p: late[min(len(late) - 1, len(late) * p // 100)] for p in _PERCENTILES} if late else {}
    return Lateness(runs=len(late), by_percentile=found)


def show(found: Report, console: Console) -> None:
    table = Table("", "found", "", title=f"chaos, seed {found.seed}", title_justify="left")
    for name, value in _figures(found):
        table.add_row(name, value, "")
    broken = Counter(violation.rule for violation in found.violations)
    table.add_section()
    for rule in RULES:
        style = "bold red" if broken[rule] else "green"
        table.add_row(rule, f"{broken[rule]} violations", f"[{style}]{'broken' if broken[rule] else 'kept'}[/]")
    console.print(table)
    for rule in broken:
        whats = [violation.what for violation in found.violations if violation.rule == rule]
        for what in whats[:_SHOWN]:
            console.print(f"  [red]{rule}[/]: {what}", highlight=False, markup=True)
        if len(whats) > _SHOWN:
            console.print(f"  [red]{rule}[/]: {len(whats) - _SHOWN} more")


def _figures(found: Report) -> Iterable[tuple[str, str]]:
    yield "lasted", f"{found.minutes:g} minutes, {found.workers} workers"
    yield "faults", f"{sum(found.faults.values())}: {_counted(found.faults)}"
    yield "fires due", f"{found.fires_due} = {found.runs} runs + {found.skipped} skipped + {found.missed} missed"
    yield "rows by status", _counted(found.ends)
    yield "calls, attempts, agent starts", f"{found.calls}, {found.attempts}, {found.agent_starts}"
    yield "lateness, calm", _late(found.calm)
    yield "lateness, near faults", _late(found.troubled)
    yield "deaths, slowest takeover", f"{found.recoveries}, {found.slowest_recovery_ms / 1000:.1f} s"
    yield "connects a second, database away", f"{found.connects_a_second} at most, of one process"
    yield "agentclock doctor", found.doctor


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))


def _late(found: Lateness) -> str:
    shown = ", ".join(f"p{p} {ms} ms" for p, ms in found.by_percentile.items())
    return f"{shown} ({found.runs} runs)".replace("p100", "max") if shown else "no runs"
