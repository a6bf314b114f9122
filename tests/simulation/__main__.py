"""The simulator's command line.

    python -m tests.simulation --seeds 500                        both stores, seeds 0 to 499
    python -m tests.simulation --seed 123 --store sqlite -v       one seed again, with everything that happens in it
    python -m tests.simulation --seeds 100 --plan my-plan.toml    with faults of your own

Ends with 1 if an invariant did not hold, with 2 if the plan cannot be used.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tests.simulation.plan import Plan, PlanError, read_plan
from tests.simulation.report import Report
from tests.simulation.runner import Job, run_all

#: A set of texts is walked in an order that Python draws anew for each process, unless it is told which.
HASH_SEED = "0"


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    try:
        plan = read_plan(options.plan) if options.plan else Plan(name="default")
    except PlanError as error:
        print(error, file=sys.stderr)
        return 2
    stores = [store for store in plan.stores if options.store in (store, "both")]
    if not stores:
        print(f"{options.plan}: stores: this plan is not for {options.store}", file=sys.stderr)
        return 2
    seeds = [options.seed] if options.seed is not None else range(options.first, options.first + options.seeds)
    jobs = [Job(plan=plan, store=store, seed=seed, verbose=options.verbose) for seed in seeds for store in stores]
    report = Report(jobs, plan_file=options.plan, twice=options.twice)
    for job, result in run_all(jobs, processes=options.workers, twice=options.twice):
        report.add(job, result)
    report.close()
    return 1 if report.violations else 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Simulated weeks, from seeds.")
    parser.add_argument("--seeds", type=_at_least_1, default=100, help="how many (100)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--store", choices=("sqlite", "postgres", "both"), default="both")
    parser.add_argument("--plan", type=Path, help="a fault plan (TOML)")
    parser.add_argument("--workers", type=_at_least_1, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument("--twice", action="store_true", help="each seed twice: both must go exactly the same way")
    parser.add_argument("-v", "--verbose", action="store_true", help="print everything that happens")
    return parser.parse_args(arguments)


def _at_least_1(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        os.environ["PYTHONHASHSEED"] = HASH_SEED
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    sys.exit(main(sys.argv[1:]))
