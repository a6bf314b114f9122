"""`agentclock doctor`: looks, changes nothing, and says what to do."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from agentclock.api.accounts import accounting_out
from agentclock.api.parameters import read_instant
from agentclock.app import is_there, make_store
from agentclock.cli.doctor_accounts import examine_accounts, remarks_on, statement_table, statements_of
from agentclock.cli.findings import Finding, Verdict
from agentclock.cli.options import ConfigFile, Database, Targets, load_settings
from agentclock.config import Settings
from agentclock.core.accounting import Statement
from agentclock.core.errors import AgentclockError, ConfigError, InvalidField
from agentclock.core.zones import tzdata_version
from agentclock.engine.clock import SystemClock
from agentclock.executor.dispatch import TargetExecutor
from agentclock.executor.secrets import Secrets
from agentclock.ports import Store

CLOCK_TOLERANCE_MS: Final = 1_000


def doctor(
    config_file: ConfigFile = None,
    database: Database = None,
    target: Targets = None,
    schedule: Annotated[
        str | None, typer.Option(help="Show the accounts of this schedule (name or id) instead.", show_default=False)
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--from", help="With --schedule: the first fire time, ISO 8601. Default: all.", show_default=False
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--to", help="With --schedule: the first fire time that does not count.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Check database, schema, zone data, clocks, engine, targets and the accounting of every fire.

    Reads only. Exit 1 when something is in trouble.
    """
    settings = load_settings(config_file, target, database=database)
    report = asyncio.run(_one(settings, schedule, since, until) if schedule else _all(settings, quiet=as_json))
    if as_json:
        typer.echo(json.dumps(report.as_json(), indent=2))
    else:
        report.show(Console())
    if report.is_trouble:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Report:
    findings: tuple[Finding, ...]
    statements: tuple[Statement, ...] = ()

    @property
    def is_trouble(self) -> bool:
        return any(finding.verdict is Verdict.TROUBLE for finding in self.findings)

    def show(self, console: Console) -> None:
        for found in self.statements:
            console.print(statement_table(found))
        if self.findings:
            table = Table("check", "", "finding", title="agentclock doctor", title_justify="left")
            for finding in self.findings:
                table.add_row(finding.check, f"[{finding.verdict.style}]{finding.verdict}[/]", escape(finding.detail))
            console.print(table)

    def as_json(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"trouble": self.is_trouble, "findings": [asdict(one) for one in self.findings]}
        if self.statements:
            accounts = [accounting_out(found).model_dump(mode="json", by_alias=True) for found in self.statements]
            shown["accounting"] = accounts
        return shown


async def _one(settings: Settings, schedule: str, since: str | None, until: str | None) -> _Report:
    try:
        first, last = read_instant("--from", since), read_instant("--to", until)
    except InvalidField as error:
        raise typer.BadParameter(error.message, param_hint=error.field) from None
    async with _opened(settings) as store:
        if isinstance(store, Finding):
            return _Report(findings=(store,))
        try:
            statements = await statements_of(settings, store, schedule, first, last)
        except AgentclockError as error:
            return _Report(findings=(Finding("database", Verdict.TROUBLE, str(error)),))
    if not statements:
        detail = f"there is no schedule with the name or id {schedule!r}"
        return _Report(findings=(Finding("schedule", Verdict.TROUBLE, detail),))
    remarks = tuple(remark for found in statements for remark in remarks_on(found))
    return _Report(findings=remarks, statements=tuple(statements))


async def _all(settings: Settings, *, quiet: bool) -> _Report:
    findings = [Finding("zone data", Verdict.OK, f"IANA {tzdata_version()}"), *await _examine_targets(settings)]
    async with _opened(settings) as store:
        if isinstance(store, Finding):
            return _Report(findings=(store, *findings))
        try:
            examined = [finding async for finding in _examine_store(settings, store, quiet=quiet)]
        except AgentclockError as error:
            examined = [Finding("database", Verdict.TROUBLE, str(error))]
    return _Report(findings=(*examined, *findings))


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Store | Finding]:
    """The store, or why there is none."""
    if not await asyncio.to_thread(is_there, settings.database):
        detail = f"{settings.database} does not exist yet: `agentclock serve` makes it"
        yield Finding("database", Verdict.TROUBLE, detail)
        return
    try:
        store, _ = make_store(settings, SystemClock(), auto_migrate=False)
        await store.open()
    except (ConfigError, AgentclockError) as error:
        yield Finding("database", Verdict.TROUBLE, str(error))
        return
    try:
        yield store
    finally:
        await store.close()


async def _examine_store(settings: Settings, store: Store, *, quiet: bool) -> AsyncIterator[Finding]:
    health = await store.health()
    yield Finding("database", Verdict.OK, f"{health.backend} {health.version}, answers in {health.latency_ms:.1f} ms")
    yield Finding("migrations", Verdict.OK, f"schema version {health.schema_version}")
    skew = abs(health.clock_difference_ms)
    verdict = Verdict.OK if skew <= CLOCK_TOLERANCE_MS else Verdict.WARNING
    yield Finding("clock", verdict, f"{health.clock_difference_ms:+d} ms from the database's clock, which rules")
    for warning in health.warnings:
        yield Finding("database", Verdict.WARNING, warning)
    yield await _examine_engine(store)
    with Progress(console=Console(stderr=True), transient=True, disable=quiet or not sys.stderr.isatty()) as bar:
        checked = bar.add_task("accounting", total=None)
        accounts = examine_accounts(
            settings, store, lambda done, total: bar.update(checked, completed=done, total=total)
        )
        async for finding in accounts:
            yield finding


async def _examine_engine(store: Store) -> Finding:
    now = await store.now()
    alive = [worker for worker in await store.workers() if worker.lease_until > now]
    if not alive:
        return Finding("engine", Verdict.WARNING, "no engine runs on this database: nothing will fire")
    shown = ", ".join(f"{worker.info.name} ({worker.running} running)" for worker in alive)
    return Finding("engine", Verdict.OK, shown)


async def _examine_targets(settings: Settings) -> list[Finding]:
    try:
        executor = TargetExecutor(
            settings.targets,
            networks=settings.allowed_networks,
            secrets=Secrets(folder=settings.secrets_dir, file=settings.secrets_file),
        )
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
