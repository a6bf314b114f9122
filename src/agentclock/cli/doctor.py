"""`agentclock doctor`: looks, changes nothing, and says what to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import typer
from rich.console import Console
from rich.table import Table

from agentclock.app import is_there, make_store
from agentclock.audit import all_schedules, audit_schedule
from agentclock.cli.options import ConfigFile, Database, Targets, load_settings
from agentclock.config import Settings
from agentclock.core.errors import AgentclockError, ConfigError
from agentclock.core.model import DAY_SECONDS, SECOND, Schedule
from agentclock.core.zones import tzdata_version
from agentclock.engine.clock import SystemClock
from agentclock.executor.dispatch import TargetExecutor
from agentclock.ports import Store

CLOCK_TOLERANCE_MS = 1_000


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    TROUBLE = "trouble"


_STYLE: Final = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.TROUBLE: "bold red"}


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    verdict: Verdict
    detail: str


def doctor(config_file: ConfigFile = None, database: Database = None, target: Targets = None) -> None:
    """Check database, schema, zone data, clocks, engine, targets and the accounting of every fire.

    Reads only. Exit 1 when something is in trouble.
    """
    settings = load_settings(config_file, target, database=database)
    findings = asyncio.run(_examine(settings))
    table = Table("check", "", "finding", title="agentclock doctor", title_justify="left")
    for finding in findings:
        table.add_row(finding.check, f"[{_STYLE[finding.verdict]}]{finding.verdict}[/]", finding.detail)
    Console().print(table)
    if any(finding.verdict is Verdict.TROUBLE for finding in findings):
        raise typer.Exit(1)


async def _examine(settings: Settings) -> list[Finding]:
    findings = [Finding("zone data", Verdict.OK, f"IANA {tzdata_version()}"), *await _examine_targets(settings)]
    if not await asyncio.to_thread(is_there, settings.database):
        detail = f"{settings.database} does not exist yet: `agentclock serve` makes it"
        return [Finding("database", Verdict.TROUBLE, detail), *findings]
    try:
        store, _ = make_store(settings, SystemClock(), auto_migrate=False)
        await store.open()
    except (ConfigError, AgentclockError) as error:
        return [Finding("database", Verdict.TROUBLE, str(error)), *findings]
    try:
        return [*[finding async for finding in _examine_store(settings, store)], *findings]
    except AgentclockError as error:
        return [Finding("database", Verdict.TROUBLE, str(error)), *findings]
    finally:
        await store.close()


async def _examine_store(settings: Settings, store: Store) -> AsyncIterator[Finding]:
    health = await store.health()
    yield Finding("database", Verdict.OK, f"{health.backend} {health.version}, answers in {health.latency_ms:.1f} ms")
    yield Finding("migrations", Verdict.OK, f"schema version {health.schema_version}")
    skew = abs(health.clock_difference_ms)
    verdict = Verdict.OK if skew <= CLOCK_TOLERANCE_MS else Verdict.WARNING
    yield Finding("clock", verdict, f"{health.clock_difference_ms:+d} ms from the database's clock, which rules")
    for warning in health.warnings:
        yield Finding("database", Verdict.WARNING, warning)
    yield await _examine_engine(store)
    async for finding in _examine_accounts(settings, store):
        yield finding


async def _examine_engine(store: Store) -> Finding:
    now = await store.now()
    alive = [worker for worker in await store.workers() if worker.lease_until > now]
    if not alive:
        return Finding("engine", Verdict.WARNING, "no engine runs on this database: nothing will fire")
    shown = ", ".join(f"{worker.info.name} ({worker.running} running)" for worker in alive)
    return Finding("engine", Verdict.OK, shown)


async def _examine_accounts(settings: Settings, store: Store) -> AsyncIterator[Finding]:
    """fires due = runs + skipped + missed, for every schedule."""
    now = await store.now()
    horizon = 0 if settings.history_days is None else now - settings.history_days * DAY_SECONDS * SECOND
    schedules = due = runs = skipped = missed = 0
    troubles: list[Finding] = []
    async for schedule in all_schedules(store):
        schedules += 1
        try:
            audit = await audit_schedule(store, schedule, now, horizon)
            if audit.trouble and (again := await store.get_schedule(schedule.id)) is not None:
                # The planner may have written between our two reads; only what is wrong twice is wrong.
                audit = await audit_schedule(store, again, now, horizon)
        except ValueError as error:
            troubles.append(_faulty(schedule, str(error)))
            continue
        due, runs = due + audit.due, runs + audit.accounted.runs
        skipped, missed = skipped + audit.accounted.skipped, missed + audit.accounted.missed
        if audit.trouble:
            troubles.append(_faulty(schedule, audit.trouble))
    verdict = Verdict.TROUBLE if troubles else Verdict.OK
    detail = f"{due} fires due = {runs} runs + {skipped} skipped + {missed} missed, over {schedules} schedules"
    yield Finding("accounting", verdict, detail)
    for trouble in troubles[:20]:
        yield trouble


def _faulty(schedule: Schedule, detail: str) -> Finding:
    return Finding("schedule", Verdict.TROUBLE, f"{schedule.name} ({schedule.id}): {detail}")


async def _examine_targets(settings: Settings) -> list[Finding]:
    try:
        executor = TargetExecutor(settings.targets)
    except ConfigError as error:
        return [Finding("target", Verdict.TROUBLE, problem) for problem in error.problems]
    try:
        answers = await asyncio.gather(*(executor.reachable(name) for name in settings.targets))
    finally:
        await executor.close()
    return [
        Finding(
            "target",
            Verdict.OK if trouble is None else Verdict.TROUBLE,
            f"{name} = {target.base_url}: {'reachable' if trouble is None else trouble}",
        )
        for (name, target), trouble in zip(settings.targets.items(), answers, strict=True)
    ]
