"""Plain UTC expressions against croniter and cronsim, where the dialects agree.

Known differences, left out here:

* croniter 7: ``a/step`` means ``a`` alone, not "from a to the field's end"; both libraries differ from
  Debian cron around clock changes (croniter runs set times twice when clocks go back).
* croniter: ``*/n`` in one day field together with a restricted other one is OR, in Debian cron AND.
* croniter: knows no ``nW``; cronsim: neither ``nW`` nor names before ``L``.
* both: ``a-a/n`` is "from a on" in cronsim; Debian cron and we take exactly ``a``.
* cronsim: ``d/n`` in day-of-week counts 7 as a day after Saturday, as we do.
* both accept six fields; we refuse them.
"""

import random
from datetime import UTC, datetime

import pytest
from croniter import croniter
from cronsim import CronSim

from agentclock.core.cron import Cron
from agentclock.core.zones import Zone

FIXED = [
    "* * * * *", "*/5 * * * *", "0 * * * *", "59 23 * * *", "0 9 * * mon-fri", "0 0 1 1 *", "0 0 29 2 *", "0 0 L * *",
    "15 3 1,15 * *", "0 0 13 * 5", "30 4 1-7 * mon", "0 12 * */3 *", "0 0 * * 0", "0 0 * * 7", "0 0 31 * *",
    "0 0 * * 5#2", "5-50/9 */4 * * *",
]  # fmt: skip


def drawn(count: int) -> list[str]:
    """Random expressions of values, ranges and steps on ranges; one restricted day field at most."""
    pick = random.Random(7)

    def field(low: int, high: int) -> str:
        first, last = sorted(pick.sample(range(low, high + 1), 2))
        listed = f"{first},{last}"
        return pick.choice(["*", str(first), listed, f"{first}-{last}", f"{first}-{last}/{pick.randint(1, 5)}"])

    found = []
    for _ in range(count):
        day, weekday = pick.choice([("*", "*"), (field(1, 28), "*"), ("*", field(0, 6))])
        found.append(" ".join([field(0, 59), field(0, 23), day, field(1, 12), weekday]))
    return found


@pytest.mark.parametrize("expression", FIXED + drawn(30))
def test_the_three_agree_in_utc(expression: str) -> None:
    zone, start = Zone.load("UTC"), datetime(2027, 12, 30, 23, 58, 30, tzinfo=UTC)
    found = Cron.parse(expression).between(int(start.timestamp()), 1 << 40, zone, 8)
    sim, iterator = CronSim(expression, start), croniter(expression, start)
    assert found == [int(next(sim).timestamp()) for _ in range(8)]
    assert found == [int(iterator.get_next(float)) for _ in range(8)]
