"""Translated timetables mean the same: a year of fires, by evaluators that know only the other side's rules."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from tests.exported import YEAR, aws_year, kubernetes_year

from agentclock.core.cron import Cron
from agentclock.core.zones import Zone
from agentclock.exporting import Inexpressible
from agentclock.exporting.aws_schedule import aws_cron, aws_rate
from agentclock.exporting.kubernetes_cron import kubernetes_cron

BEGIN, END = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (YEAR, YEAR + 1))

COMMON = [
    "0 3 * * *", "*/15 * * * *", "5/20 8-18/2 * * mon-fri", "0 0 1,15 * *", "0 22 * * 5-7", "0 0 * * 0", "0 0 * * 7",
    "0 12 1 JAN,Mar-may *", "10-10 4 ? * ?", "0 0 */2 * *", "0 8 ? * 6,0", "0 0 29 2 *", "@daily", "@weekly", "@yearly",
    "@hourly", "0 0 * * 1/2", "0 0 * * 0/7", "0 0 1-31 * mon", "0 0 5 * 0-6", "0 0 5,* * *", "*/7 */5 * */5 *",
    "0 0 31 * *", "7 7 */40 * *", "0 0 * * */2", "0 0 * * sun-sat", "0 0 * * 0-7", "0 9 * * *,1",
]  # fmt: skip
EITHER_DAY = ["0 0 13 * fri", "30 4 1-7 * mon", "0 0 5,*/10 * 7", "0 0 1 * sat,sun"]
BOTH_DAYS = ["0 0 */2 * mon", "0 0 */3 * mon", "0 0 1-7 * */3", "0 0 *,1 * mon", "0 0 ? * */2"]
SPECIAL = ["0 0 L * *", "0 9 15W * *", "0 9 1W * *", "0 9 28W * *", "0 9 * * mon#1", "0 9 * * 7#5", "0 9 * * friL"]


def year(expression: str) -> list[int]:
    return Cron.parse(expression).between(BEGIN - 1, END - 1, Zone.load("UTC"), 1_000_000)


def drawn(count: int) -> list[str]:
    """Random expressions that fire a few times on their days, of every form that a field can have."""
    pick = random.Random(20)

    def item(low: int, high: int) -> str:
        first, last = sorted(pick.sample(range(low, high + 1), 2))
        step = pick.randint(1, high)
        return pick.choice([str(first), f"{first}-{last}", f"{first}-{last}/{step}", f"{last}/{step}", f"*/{step}"])

    def field(low: int, high: int) -> str:
        return ",".join(item(low, high) for _ in range(pick.choice([1, 1, 2, 3])))

    found = []
    while len(found) < count:
        days = pick.choice([("*", "*"), (field(1, 31), "*"), ("*", field(0, 7)), (field(1, 31), field(0, 7))])
        minute, hour = str(pick.randint(0, 59)), pick.choice([str(pick.randint(0, 23)), field(0, 23)])
        expression = f"{pick.choice([minute, field(50, 59)])} {hour} {days[0]} {field(1, 12)} {days[1]}"
        try:
            Cron.parse(expression)
        except ValueError:
            continue  # a date that never comes
        found.append(expression)
    return found


DRAWN = drawn(400)


@pytest.mark.parametrize("expression", COMMON + EITHER_DAY)
def test_kubernetes_fires_at_the_same_times(expression: str) -> None:
    assert kubernetes_year(kubernetes_cron(Cron.parse(expression))) == year(expression)


@pytest.mark.parametrize("expression", COMMON + SPECIAL)
def test_aws_fires_at_the_same_times(expression: str) -> None:
    assert aws_year(aws_cron(Cron.parse(expression))) == year(expression)


def test_random_expressions_mean_the_same_in_kubernetes_or_are_refused() -> None:
    kept = 0
    for expression in DRAWN:
        try:
            translated = kubernetes_cron(Cron.parse(expression))
        except Inexpressible:
            days, weekdays = expression.split()[2], expression.split()[4]
            assert "*" in (days[0], weekdays[0]), expression
            assert "*" not in (days, weekdays), expression
        else:
            kept += 1
            assert kubernetes_year(translated) == year(expression), (expression, translated)
    assert kept > 300


def test_random_expressions_mean_the_same_on_aws_or_are_refused() -> None:
    kept = 0
    for expression in DRAWN:
        try:
            translated = aws_cron(Cron.parse(expression))
        except Inexpressible:
            assert "*" not in (expression.split()[2], expression.split()[4]), expression
        else:
            kept += 1
            assert aws_year(translated) == year(expression), (expression, translated)
    assert kept > 250


def test_the_evaluators_know_the_differences() -> None:
    """Taken over word for word, these would mean something else."""
    assert kubernetes_year("0 0 */2 * mon") != year("0 0 */2 * mon")
    assert kubernetes_year("0 0 * * 1/2") != year("0 0 * * 1/2")
    assert aws_year("cron(0 9 ? * 2-6 *)") == year("0 9 * * 1-5")
    for refused in ("0 0 * * 7", "0 0 * * 5-7", "0 0 * * fri#1"):
        with pytest.raises(ValueError, match=r".+"):
            kubernetes_year(refused)
    for refused in ("cron(0 9 * * * *)", "cron(0 9 ? * ? *)", "cron(0 9 1-9/2 * ? *)", "cron(0 9 ? * FRI-MON *)"):
        with pytest.raises(ValueError, match=r".+"):
            aws_year(refused)


@pytest.mark.parametrize("expression", BOTH_DAYS[:3])
def test_both_days_at_once_are_refused_everywhere(expression: str) -> None:
    with pytest.raises(Inexpressible, match="must both match here"):
        kubernetes_cron(Cron.parse(expression))
    with pytest.raises(Inexpressible, match="only one of the two day fields"):
        aws_cron(Cron.parse(expression))


@pytest.mark.parametrize("expression", BOTH_DAYS[3:])
def test_a_star_that_leaves_nothing_out_restricts_nothing(expression: str) -> None:
    assert kubernetes_year(kubernetes_cron(Cron.parse(expression))) == year(expression)
    assert aws_year(aws_cron(Cron.parse(expression))) == year(expression)


@pytest.mark.parametrize("expression", EITHER_DAY)
def test_aws_refuses_either_day_and_says_what_to_do(expression: str) -> None:
    with pytest.raises(Inexpressible, match="make two schedules of it"):
        aws_cron(Cron.parse(expression))


@pytest.mark.parametrize("expression", SPECIAL)
def test_kubernetes_refuses_extensions(expression: str) -> None:
    with pytest.raises(Inexpressible, match="Kubernetes has neither"):
        kubernetes_cron(Cron.parse(expression))


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("0 0 LW * *", "not both together"),
        ("0 0 1,L * *", "only alone"),
        ("0 0 1W,15W * *", "only alone"),
        ("0 0 31W * *", "not every month"),
        ("0 0 * * mon#1,tue#2", "only alone"),
        ("0 0 * * mon,friL", "only alone"),
    ],
)
def test_aws_takes_extensions_only_alone(expression: str, reason: str) -> None:
    with pytest.raises(Inexpressible, match=reason):
        aws_cron(Cron.parse(expression))


@pytest.mark.parametrize(
    ("seconds", "rate"),
    [
        (60, "rate(1 minute)"),
        (300, "rate(5 minutes)"),
        (3600, "rate(1 hour)"),
        (5400, "rate(90 minutes)"),
        (172_800, "rate(2 days)"),
    ],
)
def test_intervals_of_whole_minutes_are_rates(seconds: int, rate: str) -> None:
    assert aws_rate(seconds) == rate
    with pytest.raises(Inexpressible, match="no whole minutes"):
        aws_rate(seconds + 1)
