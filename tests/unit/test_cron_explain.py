"""The English of cron expressions."""

import pytest

from agentclock.core.cron import Cron
from agentclock.core.zones import Zone

BERLIN = Zone.load("Europe/Berlin")
UTC = Zone.load("UTC")
JANUARY, JULY = BERLIN.to_epoch(2026, 1, 1), BERLIN.to_epoch(2026, 7, 1)


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("", "Only when triggered"),
        ("* * * * *", "Every minute, every day"),
        ("*/5 * * * *", "Every 5 minutes, every day"),
        ("*/7 * * * *", "Every 7 minutes, counted from each full hour, every day"),
        ("5/15 * * * *", "Every 15 minutes from 5 to 50 past every hour, every day"),
        ("@hourly", "Every hour, every day"),
        ("30 * * * *", "Every hour at 30 minutes past, every day"),
        ("1 * * * *", "Every hour at 1 minute past, every day"),
        ("0,30 * * * *", "At 0 and 30 minutes past every hour, every day"),
        ("0 3 * * *", "At 03:00, every day"),
        ("0,30 9 * * *", "At 09:00 and 09:30, every day"),
        ("0 9,17 * * mon-fri", "At 09:00 and 17:00, Monday to Friday"),
        ("30 9-17 * * 1-5", "Every hour from 09:30 to 17:30, Monday to Friday"),
        ("0 */2 * * *", "Every 2 hours, every day"),
        ("15 */2 * * *", "Every 2 hours from 00:15, every day"),
        ("0 9-17/2 * * *", "At 09:00, 11:00, 13:00, 15:00 and 17:00, every day"),
        ("0 1-23/2 * * *", "Every 2 hours from 01:00 to 23:00, every day"),
        (
            "0 0-2,4,6,8-12 * * *",
            "At 00:00, 01:00, 02:00, 04:00, 06:00, 08:00, 09:00, 10:00, 11:00 and 12:00, every day",
        ),
        ("*/15 9-17 * * *", "Every 15 minutes from 09:00 to 17:45, every day"),
        ("* 3 * * *", "Every minute from 03:00 to 03:59, every day"),
        ("*/20 2 * * *", "Every 20 minutes from 02:00 to 02:40, every day"),
        ("10-50/10 2 * * *", "Every 10 minutes from 02:10 to 02:50, every day"),
        ("* 0,2 * * *", "Every minute in the hours 00 and 02, every day"),
        ("*/15 */2 * * *", "Every 15 minutes in every 2nd hour from 00 to 22, every day"),
        ("0,30 0-5 * * *", "At 0 and 30 minutes past the hours 00 to 05, every day"),
        ("3-43/4 1-3 * * *", "Every 4 minutes from 3 to 43 past the hours 01 to 03, every day"),
        ("0 0 * * 7", "At 00:00, every Sunday"),
        ("0 0 * * sat,sun", "At 00:00, every Saturday and Sunday"),
        ("0 0 * * mon,wed,fri", "At 00:00, every Monday, Wednesday and Friday"),
        ("0 0 1 * *", "At 00:00, on the 1st of the month"),
        ("0 0 1,15 * *", "At 00:00, on the 1st and 15th of the month"),
        ("0 0 11-13,21,22 * *", "At 00:00, on the 11th to 13th, 21st and 22nd of the month"),
        ("0 0 */2 * *", "At 00:00, on every 2nd day from the 1st to the 31st of the month"),
        ("0 0 L * *", "At 00:00, on the last day of the month"),
        ("0 0 LW * *", "At 00:00, on the last weekday (Monday to Friday) of the month"),
        ("0 0 15W * *", "At 00:00, on the weekday (Monday to Friday) nearest to the 15th of the month"),
        ("0 0 1,L * *", "At 00:00, on the 1st and the last day of the month"),
        ("0 0 * * fri#2", "At 00:00, on the second Friday of the month"),
        ("0 0 * * friL", "At 00:00, on the last Friday of the month"),
        ("0 0 * * mon#1,friL", "At 00:00, on the first Monday and the last Friday of the month"),
        ("0 0 * * mon,fri#2", "At 00:00, every Monday and on the second Friday of the month"),
        ("0 0 1 1 *", "At 00:00, on the 1st of January"),
        ("0 0 * jan,jul *", "At 00:00, every day in January and July"),
        ("0 0 * 6-8 sun", "At 00:00, every Sunday from June to August"),
        ("0 0 * mar,apr mon#1", "At 00:00, on the first Monday of March and April"),
        ("0 0 13 * 5", "At 00:00, on the 13th of the month, and also every Friday"),
        ("0 0 13 6 5", "At 00:00, on the 13th of June, and also every Friday in June"),
        ("0 0 1-7 * */7", "At 00:00, on the 1st to 7th of the month, but only if that is a Sunday"),
        (
            "0 0 */10 * mon,fri",
            "At 00:00, on every 10th day from the 1st to the 31st of the month, but only if that is a Monday or Friday",
        ),
        (
            "0 0 */10 * mon-fri",
            "At 00:00, on every 10th day from the 1st to the 31st of the month, "
            "but only if that is a day from Monday to Friday",
        ),
        (
            "0 0 */10 * friL",
            "At 00:00, on every 10th day from the 1st to the 31st of the month, "
            "but only if that is the last Friday of the month",
        ),
    ],
)
def test_explain(expression: str, sentence: str) -> None:
    assert Cron.parse(expression).explain() == sentence


@pytest.mark.parametrize(
    ("expression", "warning"),
    [
        ("*/7 * * * *", "minute: step 7 does not divide 60: it starts anew at 0, so the last distance is shorter"),
        ("0 */5 * * *", "hour: step 5 does not divide 24: it starts anew at 0, so the last distance is shorter"),
        (
            "0 0 */2 * *",
            "day-of-month: step 2 does not divide 31: it starts anew at 1, so the last distance is shorter",
        ),
        ("0 0 * * */2", "day-of-week: step 2 does not divide 7: it starts anew at 0, so the last distance is shorter"),
        ("*/90 * * * *", "minute: step 90 is larger than its range: only 0 matches"),
        ("10-15/9 * * * *", "minute: step 9 is larger than its range: only 10 matches"),
        ("0 0 13 * 5", "both day fields are restricted: it runs on days that match either of them"),
        ("0 0 31 * *", "day-of-month: February, April, June, September and November have no day 31"),
        ("0 0 30 * *", "day-of-month: February has no day 30"),
        ("0 0 29 * *", "day-of-month: February has a day 29 in leap years only"),
        ("0 0 31W 3,4 *", "day-of-month: April has no day 31"),
    ],
)
def test_warnings(expression: str, warning: str) -> None:
    assert Cron.parse(expression).warnings(UTC, JANUARY) == [warning]


@pytest.mark.parametrize(
    "expression",
    ["*/5 * * * *", "0 */2 * * *", "5/15 * * * *", "9-17/3 9-17/2 * * *", "0 0 L * *", "0 0 31 1 *", "0 0 1-31 * *",
     "0 0 * */3 *", "0 9 * * mon-fri", "@daily", "@hourly", "30 2 * * *"],
)  # fmt: skip
def test_nothing_to_warn_about(expression: str) -> None:
    assert Cron.parse(expression).warnings(UTC, JANUARY) == []


@pytest.mark.parametrize(
    ("expression", "at", "warning"),
    [
        ("30 2 * * *", JANUARY,
         "02:30 does not exist on 2026-03-29 in Europe/Berlin (clocks go forward): "
         "that run happens at 2026-03-29T03:00:00+02:00"),
        ("*/15 2 * * *", JANUARY,
         "02:00 does not exist on 2026-03-29 in Europe/Berlin (clocks go forward): nothing runs at that time"),
        ("30 2 * * *", JULY,
         "02:30 comes twice on 2026-10-25 in Europe/Berlin (clocks go back): it runs the first time only"),
        ("*/15 2 * * *", JULY,
         "02:00 comes twice on 2026-10-25 in Europe/Berlin (clocks go back): it runs both times"),
    ],
)  # fmt: skip
def test_warnings_of_the_next_clock_change(expression: str, at: int, warning: str) -> None:
    assert Cron.parse(expression).warnings(BERLIN, at) == [warning]


@pytest.mark.parametrize("expression", ["0 * * * *", "*/5 * * * *", "30 3 * * *", "30 2 * * mon", "30 2 1 * *"])
def test_no_warning_if_the_next_clock_change_touches_no_run(expression: str) -> None:
    assert Cron.parse(expression).warnings(BERLIN, JANUARY) == []
