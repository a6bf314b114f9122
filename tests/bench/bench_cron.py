"""Cron against croniter and cronsim: ``python tests/bench/bench_cron.py`` (BENCH_QUICK=1: a small round).

Ratios, because they hold on any machine: parse + next of one expression, how many times faster than the
other library. "Cold" parses an expression never seen before, "warm" one that is in the cache of parsed
expressions, as every enabled schedule's is.
"""

import os
import sys
import timeit
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from statistics import geometric_mean, median
from time import perf_counter
from zoneinfo import ZoneInfo

from croniter import croniter
from cronsim import CronSim

from agentclock.core import cron as cron_module
from agentclock.core.cron import Cron
from agentclock.core.zones import Zone, available, tzdata_version

QUICK = bool(os.environ.get("BENCH_QUICK"))
SECONDS = 0.01 if QUICK else 0.05
START = datetime(2026, 5, 5, 12, 1, tzinfo=UTC)
AT = int(START.timestamp())
UTC_ZONE = Zone.load("UTC")

TYPICAL = [
    "* * * * *", "*/5 * * * *", "0 * * * *", "30 2 * * *", "0 9 * * mon-fri", "0 9,17 * * 1-5", "0 0 1 * *",
    "*/15 9-17 * * mon-fri", "0 0 * * 0", "15 3 1,15 * *", "0 */2 * * *",
]  # fmt: skip
HARD = ["0 0 1 1 *", "0 0 29 2 *", "0 0 L * *", "59 23 31 12 *", "0 0 * * 5#2", "0 0 13 * 5", "7 4 29 2 */7"]


def microseconds(work: Callable[[], object], seconds: float = SECONDS) -> float:
    """Best of three of the mean of one call."""
    once = timeit.timeit(work, number=3) / 3
    number = max(3, int(seconds / max(once, 1e-7)))
    return min(timeit.repeat(work, number=number, repeat=3)) / number * 1e6


def compare(title: str, expressions: list[str]) -> None:
    print(f"{title:24}   times faster, cold (warm)")
    ratios: list[tuple[float, float, float, float]] = []
    for expression in expressions:
        cold = microseconds(lambda text=expression: cron_module._parse.__wrapped__(text).next(AT, UTC_ZONE))
        warm = microseconds(lambda text=expression: Cron.parse(text).next(AT, UTC_ZONE))
        iterated = microseconds(lambda text=expression: croniter(text, START).get_next())
        simulated = microseconds(lambda text=expression: next(CronSim(text, START)))
        ratio = (iterated / cold, iterated / warm, simulated / cold, simulated / warm)
        ratios.append(ratio)
        _line(expression, ratio)
    _line("geometric mean", [geometric_mean(column) for column in zip(*ratios, strict=True)])
    print()


def _line(name: str, ratio: Sequence[float]) -> None:
    print(f"  {name:22}   croniter {ratio[0]:.0f}x ({ratio[1]:.0f}x), cronsim {ratio[2]:.1f}x ({ratio[3]:.1f}x)")


def first_use() -> None:
    """Loading a zone from its file and asking it for an offset and a run in winter and summer."""
    cron, ratios = Cron.parse("30 2 * * *"), []
    names = sorted(available())[:: 10 if QUICK else 1]
    for name in names:
        started = perf_counter()
        zone = Zone.load(name)
        cron.next(AT, zone)
        loaded = perf_counter()
        START.astimezone(ZoneInfo.no_cache(name))
        ratios.append((loaded - started) / (perf_counter() - loaded))
    print(
        f"zone first use ({len(names)} zones, IANA {tzdata_version()}), in loads by zoneinfo: "
        f"median {median(ratios):.1f}, 99th percentile {sorted(ratios)[len(ratios) * 99 // 100]:.1f}"
    )


def main() -> int:
    first_use()
    print("targets, typical: 20x croniter, 4x cronsim\n")
    compare("typical", TYPICAL)
    compare("hard", HARD)
    return 0


if __name__ == "__main__":
    sys.exit(main())
