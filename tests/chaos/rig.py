"""One run of chaos: processes up, schedules made, faults and changes for some minutes, everything down, verdict."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.chaos.bystander import Bystander
from tests.chaos.checker import check
from tests.chaos.database import Database, PostgresDatabase, SqliteDatabase, dump
from tests.chaos.evidence import read_evidence
from tests.chaos.faults import READY_SECONDS, Fault, Troublemaker, World, deal
from tests.chaos.fleet import Child, Fleet, Proxy, WorkerProcess, free_port, until
from tests.chaos.journal import Journal, now_ms
from tests.chaos.population import population
from tests.chaos.report import Report, report

SETTLE_SECONDS: Final = 240.0
#: Log events that say that we have made a mistake.
_MISTAKES: Final = ("loop_failed", "errand_failed", "Traceback (most recent call last)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    minutes: float
    workers: int
    seed: str
    fires_per_second: float
    lease_seconds: float
    is_postgres: bool
    folder: Path

    @property
    def long_seconds(self) -> float:
        """How long an agent works that outlives a lease."""
        return self.lease_seconds * 2.6


async def carry_out(options: Options, faults: list[Fault] | None = None) -> Report:
    """One run from its first process to its verdict; `faults`: others than those of its seed."""
    rig = Rig(options, faults)
    try:
        await rig.start()
        return await rig.run()
    finally:
        await rig.stop()


class Rig:
    """The processes of one run. Stop it also if it did not start."""

    def __init__(self, options: Options, faults: list[Fault] | None = None) -> None:
        self.options = options
        self.faults = faults
        self.folder = options.folder
        self.journal = Journal(self.folder / "rig.jsonl")
        path = self.folder / "clock.db"
        self.database: Database = PostgresDatabase() if options.is_postgres else SqliteDatabase(path)
        self.ports = {name: free_port() for name in ("target", "agentos")}
        self.target = self._child("target", "--seed", options.seed)
        self.agentos = self._child(
            "agentos", "--database", str(self.folder / "agno.db"), "--long-seconds", str(options.long_seconds)
        )
        self.fleet = Fleet()

    async def start(self) -> None:
        await self.database.start()
        self.proxy = Proxy(self.folder / "proxy.jsonl", dict(self._links()), self.folder / "proxy.log")
        await asyncio.gather(self.target.start(), self.agentos.start(), self.proxy.start())
        self.fleet.workers += [self._worker(number) for number in range(1, self.options.workers + 1)]
        first, *others = self.fleet.workers
        await first.start()  # it brings the schema
        await until(lambda: self.fleet.is_ready(first), READY_SECONDS, "the first worker is ready")
        await asyncio.gather(*(worker.start() for worker in others))
        await self._all_up()

    async def stop(self) -> None:
        await self.fleet.close()
        for child in (*self.fleet.workers, self.agentos, self.target):
            await child.kill()
        await self.database.close()

    async def run(self) -> Report:
        options = self.options
        seconds = options.minutes * 60
        schedules = [await self._make(draft) for draft in self._drafts()]
        self._say(f"{len(schedules)} schedules on {options.workers} workers for {options.minutes:g} minutes")
        world = World(
            fleet=self.fleet,
            proxy=self.proxy,
            database=self.database,
            agentos=self.agentos,
            journal=self.journal,
        )
        meddling = asyncio.create_task(Bystander(self.fleet, schedules, self.journal, options.seed).meddle())
        ends = asyncio.get_running_loop().time() + seconds
        await Troublemaker(world).carry_out(self._faults())
        await asyncio.sleep(max(0.0, ends - asyncio.get_running_loop().time()))
        meddling.cancel()
        with suppress(asyncio.CancelledError):
            await meddling
        return await self._settle(schedules)

    async def _settle(self, schedules: list[dict[str, Any]]) -> Report:
        """Everybody is well again; nothing new is fired; what has begun may end."""
        self._say("faults are over")
        try:
            await self._all_up()
            deadline = asyncio.get_running_loop().time() + SETTLE_SECONDS
            for schedule in schedules:
                await self.fleet.insist("POST", f"/schedules/{schedule['id']}/disable", deadline=deadline)
            await until(self._is_idle, SETTLE_SECONDS, "every run has ended")
            await self._all_up()
        except TimeoutError as error:
            self._complain(str(error))
        doctor = await self._doctor()
        for worker in self.fleet.workers:
            await self._end(worker)
        await self.proxy.end()
        await dump(self.database, self.folder)
        return self._verdict(doctor)

    def _verdict(self, doctor: str) -> Report:
        options, found = self.options, read_evidence(self.folder)
        verdict = report(
            found,
            check(found),
            seed=options.seed,
            minutes=options.minutes,
            workers=options.workers,
            doctor=doctor,
            recovery_ms=round(options.lease_seconds * 2000),
        )
        (self.folder / "report.json").write_text(json.dumps(verdict.as_json(), indent=2), encoding="utf-8")
        return verdict

    def _faults(self) -> Iterator[Fault]:
        if self.faults is not None:
            return iter(self.faults)
        options = self.options
        return deal(
            options.seed,
            seconds=options.minutes * 60 - 5,
            workers=options.workers,
            lease_seconds=options.lease_seconds,
            servers=options.is_postgres,
        )

    def _drafts(self) -> Iterator[dict[str, Any]]:
        return population(self.options.seed, self.options.fires_per_second, self.options.long_seconds)

    async def _make(self, draft: dict[str, Any]) -> dict[str, Any]:
        deadline = asyncio.get_running_loop().time() + READY_SECONDS
        made: dict[str, Any] = await self.fleet.insist("POST", "/schedules", draft, deadline=deadline)
        self.journal.note("created", schedule=made["id"], version=made["version"])
        return made

    async def _is_idle(self) -> bool:
        return await self.database.active() == 0

    async def _all_up(self) -> None:
        """Those with an API say so, the others show in the database."""
        for worker in self.fleet.workers:
            if worker.url is not None:
                await until(lambda worker=worker: self.fleet.is_ready(worker), READY_SECONDS, f"{worker.name} is ready")
            elif self.options.is_postgres:
                await until(lambda worker=worker: self._is_leased(worker), READY_SECONDS, f"{worker.name} works")

    async def _is_leased(self, worker: WorkerProcess) -> bool:
        try:
            rows = await self.database.rows("workers")
        except OSError:
            return False
        mine = [row for row in rows if row["name"] == worker.database_name]
        return any(row["lease_until"] > now_ms() and row["retired_at"] is None for row in mine)

    async def _doctor(self) -> str:
        """Its line on the accounting."""
        log = self.folder / "doctor.txt"
        doctor = Child("doctor", ["agentclock", "doctor"], log, {**self._environment(1), "COLUMNS": "200"})
        await doctor.start()
        assert doctor.process is not None
        code = await doctor.process.wait()
        said = re.search(r"accounting\W+\w+\W+(\d.*?)\s*│", log.read_text(encoding="utf-8"))
        if code != 0:
            self._complain(f"agentclock doctor is not content: exit code {code}, see {log}")
        return said[1] if said else f"exit code {code}, see {log}"

    async def _end(self, worker: WorkerProcess) -> None:
        """Stops it for good, and looks back on how it was."""
        if not worker.is_alive:
            self._complain(f"{worker.name} is dead")
        elif await worker.stop(READY_SECONDS) != 0:
            self._complain(f"{worker.name} did not stop cleanly at the end")
        for code in worker.stops:
            if code != 0:
                self._complain(f"{worker.name} ended with {code} when it was told to stop")
        log = (self.folder / f"worker-{worker.number}.log").read_text(encoding="utf-8", errors="replace")
        for line in log.splitlines():
            if any(mistake in line for mistake in _MISTAKES):
                self._complain(f"{worker.name} logged: {line[:300]}")

    def _complain(self, text: str) -> None:
        self.journal.note("complaint", text=text)

    def _child(self, name: str, *more: str) -> Child:
        record, port = str(self.folder / f"{name}.jsonl"), str(self.ports[name])
        command = [f"tests.chaos.{name}", "--record", record, "--port", port, *more]
        return Child(name, command, self.folder / f"{name}.log")

    def _links(self) -> Iterator[tuple[str, str]]:
        for number in range(1, self.options.workers + 1):
            yield f"net-os.{number}", f"127.0.0.1:{self.ports['agentos']}"
            yield f"net-hooks.{number}", f"127.0.0.1:{self.ports['target']}"
            if self.database.upstream is not None:
                yield f"db.{number}", self.database.upstream

    def _worker(self, number: int) -> WorkerProcess:
        return WorkerProcess(number, self._environment(number), self.folder, serves=number % 2 == 1)

    def _environment(self, number: int) -> dict[str, str]:
        ports = self.proxy.ports
        targets = {
            "default": {"base_url": f"http://127.0.0.1:{ports[f'net-os.{number}']}"},
            "hooks": {"base_url": f"http://127.0.0.1:{ports[f'net-hooks.{number}']}", "kind": "http"},
        }
        return {
            "AGENTCLOCK_DATABASE": self.database.url(ports.get(f"db.{number}")),
            "AGENTCLOCK_TARGETS": json.dumps(targets),
            "AGENTCLOCK_LEASE_SECONDS": str(self.options.lease_seconds),
            "AGENTCLOCK_LOST_AFTER_SECONDS": str(self.options.lease_seconds * 3),
            "AGENTCLOCK_SHUTDOWN_GRACE_SECONDS": "4",
            "AGENTCLOCK_LOG_FORMAT": "json",
        }

    def _say(self, text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
