"""What the command line prints of many simulations."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from tests.simulation.runner import Job
from tests.simulation.simulate import Result

EVERY_SECONDS = 10.0
WEEK_SECONDS = 604_800
#: What stands in the table, in this order; whatever else was counted follows.
ROWS = (
    "fires due",
    "runs",
    "fires without a run",
    "rows of absent fires",
    "requests that targets accepted",
    "retries",
    "transactions",
    "crashes",
    "commits whose reply was not heard",
    "lost replies",
    "failed calls",
    "slow calls",
    "freezes",
    "sleeps",
    "clocks set wrong",
    "deployments",
    "outages of all workers",
    "times the database was away",
    "times the targets were away",
    "clock jumps",
    "lost wake-ups",
    "deeds of people",
    "workers declared dead",
    "runs taken over",
)


class Report:
    def __init__(self, jobs: Sequence[Job], *, plan_file: Path | None, twice: bool) -> None:
        self._plan_file = plan_file
        self._twice = twice
        self._wanted = Counter(job.store for job in jobs)
        self._done: Counter[str] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._began = self._said = time.monotonic()
        self.violations: list[tuple[Job, str]] = []
        plan = jobs[0].plan
        wanted = ", ".join(f"{number} seeds on {store}" for store, number in self._wanted.items())
        print(f"plan {plan.name}: {plan.steps} steps a seed, {wanted}")

    def add(self, job: Job, result: Result) -> None:
        self._done[job.store] += 1
        self._seconds[job.store] += result.seconds
        self._counts[job.store] += result.counts
        if result.differs:
            self._violated(job, "two simulations of this seed went different ways")
        if result.violation is not None:
            self._violated(job, result.violation)
        elif sum(self._wanted.values()) <= len(self._wanted):  # a single seed
            print(f"seed {job.seed} on {job.store}: trace {result.trace}, every invariant held")
        if time.monotonic() - self._said >= EVERY_SECONDS:
            self._progress()

    def close(self) -> None:
        stores = list(self._wanted)
        print(f"\n{'':<36}" + "".join(f"{store:>14}" for store in stores))
        violated = Counter(job.store for job, _ in self.violations)
        rows: list[tuple[str, list[str]]] = [
            ("seeds", [f"{self._done[store]:,}" for store in stores]),
            ("simulated weeks", [f"{self._seconds[store] / WEEK_SECONDS:,.1f}" for store in stores]),
        ]
        further = sorted(set().union(*self._counts.values()) - set(ROWS))
        rows += [(what, [f"{self._counts[store][what]:,}" for store in stores]) for what in (*ROWS, *further)]
        rows.append(("violations", [f"{violated[store]:,}" for store in stores]))
        for what, figures in rows:
            print(f"{what:<36}" + "".join(f"{figure:>14}" for figure in figures))
        took = time.monotonic() - self._began
        total = sum(self._done.values())
        speed = f"{total / took * 60:.0f} a minute"
        print(f"\n{total} simulations in {took:.0f} s, {speed}; {len(self.violations)} violations")

    def _violated(self, job: Job, text: str) -> None:
        self.violations.append((job, text))
        plan = f" --plan {self._plan_file}" if self._plan_file else ""
        print(f"VIOLATION seed {job.seed} on {job.store}: {text}")
        print(f"  again: python -m tests.simulation --seed {job.seed} --store {job.store}{plan} -v", flush=True)

    def _progress(self) -> None:
        self._said = time.monotonic()
        done = ", ".join(f"{store} {self._done[store]} of {wanted}" for store, wanted in self._wanted.items())
        print(f"  {self._said - self._began:5.0f} s: {done}; {len(self.violations)} violations", flush=True)
