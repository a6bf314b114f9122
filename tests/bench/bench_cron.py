"""Cron against croniter and cronsim: ``python tests/bench/bench_cron.py``. Prints, asserts nothing.

Ratios, because they hold on any machine: parse + next of one expression, how many times faster than the
other library. "Cold" parses an expression never seen before, "warm" one that is in the cache of parsed
expressions, as every enabled schedule's is.
"""

import sys
import timeit
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import geometric_mean, median
from time import perf_counter

from croniter import croniter
from cronsim import CronSim

from agentclock.core import cron as cron_module
from agentclock.core.cron import Cron
from agentclock.core.zones import Zone, available, tzdata_version

START = datetime(2026, 5, 5, 12, 1, tzinfo=UTC)
AT = int(START.timestamp())
UTC_ZONE = Zone.load("UTC")

TYPICAL = [
    "* * * * *", "*/5 * * * *", "0 * * * *", "30 2 * * *", "0 9 * * mon-fri", "0 9,17 * * 1-5", "0 0 1 * *",
    "*/15 9-17 * * mon-fri", "0 0 * * 0", "15 3 1,15 * *", "0 */2 * * *",
]  # fmt: skip
HARD = ["0 0 1 1 *", "0 0 29 2 *", "0 0 L * *", "59 23 31 12 *", "0 0 * * 5#2", "0 0 13 * 5", "7 4 29 2 */7"]


def microseconds(work: Callable[[], object], seconds: float = 0.05) -> float:
    """Best of three of the mean of one call."""
    once = timeit.timeit(work, number=3) / 3
    number = max(3, int(seconds / max(once, 1e-7)))
    return min(timeit.repeat(work, number=number, repeat=3)) / number * 1e6


def compare(title: str, expressions: list[str]) -> None:
    print(f"{title:24}{'cold':>9}{'warm':>9}{'croniter':>10}{'cronsim':>10}   times faster, cold (warm)")
    ratios: list[tuple[float, float, float, float]] = []
    for expression in expressions:
        cold = microseconds(lambda text=expression: cron_module._parse.__wrapped__(text).next(AT, UTC_ZONE))
        warm = microseconds(lambda text=expression: Cron.parse(text).next(AT, UTC_ZONE))
        iterated = microseconds(lambda text=expression: croniter(text, START).get_next())
        simulated = microseconds(lambda text=expression: next(CronSim(text, START)))
        ratio = (iterated / cold, iterated / warm, simulated / cold, simulated / warm)
        ratios.append(ratio)
        print(
            f"  {expression:22}{cold:7.1f}us{warm:7.1f}us{iterated:8.1f}us{simulated:8.1f}us"
            f"   croniter {ratio[0]:.0f}x ({ratio[1]:.0f}x), cronsim {ratio[2]:.1f}x ({ratio[3]:.1f}x)"
        )
    means = [geometric_mean(column) for column in zip(*ratios, strict=True)]
    print(
        f"  {'geometric mean':60}   croniter {means[0]:.0f}x ({means[1]:.0f}x), "
        f"cronsim {means[2]:.1f}x ({means[3]:.1f}x)\n"
    )


def first_use() -> None:
    """Loading a zone from its file and asking it for an offset and a run in winter and summer."""
    cron, spans = Cron.parse("30 2 * * *"), []
    for name in available():
        started = perf_counter()
        zone = Zone.load(name)
        cron.next(AT, zone)
        spans.append((perf_counter() - started) * 1000)
    print(
        f"zone first use ({len(spans)} zones, IANA {tzdata_version()}): "
        f"median {median(spans):.2f} ms, 99th percentile {sorted(spans)[len(spans) * 99 // 100]:.2f} ms"
    )


def main() -> int:
    first_use()
    print("targets, typical: 20x croniter, 4x cronsim; zone first use 1 ms\n")
    compare("typical", TYPICAL)
    compare("hard", HARD)
    return 0


if __name__ == "__main__":
    sys.exit(main())
