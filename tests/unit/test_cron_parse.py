"""What is read, what is refused, and how it is said."""

import pytest

from agentclock.core.cron import Cron, CronError, CronKind
from agentclock.core.zones import Zone

UTC = Zone.load("UTC")

# (expression, field, position of the fault, a word of the reason)
REFUSED = [
    # number of fields
    ("   ", "expression", 0, "blanks"),
    ("*", "expression", 1, "1 of 5"),
    ("* *", "expression", 3, "2 of 5"),
    ("0 0 * *", "expression", 7, "day-of-week is missing"),
    ("0 0 0 * * *", "expression", 10, "one-minute resolution"),
    ("0 0 * * * 2030", "expression", 10, "one-minute resolution"),
    ("0 0 12 * * ? 2030", "expression", 11, "7 fields"),
    ("* * * * * /bin/true", "expression", 10, "6 fields"),
    ("* * * * * # hourly", "expression", 10, "7 fields"),
    # macros
    ("@reboot", "expression", 0, "boot"),
    ("@REBOOT", "expression", 0, "boot"),
    ("@fortnightly", "expression", 0, "unknown @fortnightly"),
    ("@", "expression", 0, "unknown"),
    ("@every 5m", "expression", 7, "nothing may follow"),
    ("@daily 5", "expression", 7, "nothing may follow"),
    ("0 @daily * * *", "hour", 2, "not a number"),
    # characters
    ("* * * * *\n", "expression", 9, "U+000A"),
    ("0 0\u00a0* * *", "expression", 3, "U+00A0"),
    ("0 0 * *\u2003*", "expression", 7, "U+2003"),
    ("٣ * * * *", "expression", 0, "ASCII"),
    ("１ * * * *", "expression", 0, "ASCII"),
    ("0 0 * * mоn", "expression", 9, "ASCII"),
    ("²  * * * *", "expression", 0, "ASCII"),
    ("0 0 * * \x00", "expression", 8, "U+0000"),
    ("0 0 * * *\x1f", "expression", 9, "U+001F"),
    ("0 0 * * *\x0b", "expression", 9, "U+000B"),
    ("＊ * * * *", "expression", 0, "ASCII"),
    ("0 0 * * *🙂", "expression", 9, "ASCII"),
    ("0," * 64 + "0 * * * *", "expression", 128, "128"),
    ("*" * 129, "expression", 128, "128"),
    # ranges of values
    ("60 * * * *", "minute", 0, "0-59"),
    ("0 24 * * *", "hour", 2, "0-23"),
    ("0 0 0 * *", "day-of-month", 4, "1-31"),
    ("0 0 32 * *", "day-of-month", 4, "1-31"),
    ("0 0 * 0 *", "month", 6, "1-12"),
    ("0 0 * 13 *", "month", 6, "1-12"),
    ("0 0 * * 8", "day-of-week", 8, "0-7"),
    ("0 0 * * 5-8", "day-of-week", 10, "0-7"),
    ("0-60 * * * *", "minute", 2, "0-59"),
    ("1,2,99 * * * *", "minute", 4, "0-59"),
    ("99999999999999999999 * * * *", "minute", 0, "0-59"),
    # not numbers
    ("+5 * * * *", "minute", 0, "not a number"),
    ("-1 * * * *", "minute", 0, "missing"),
    ("1.5 * * * *", "minute", 0, "not a number"),
    ("1e1 * * * *", "minute", 0, "not a number"),
    ("0x10 * * * *", "minute", 0, "not a number"),
    ("5_0 * * * *", "minute", 0, "not a number"),
    ("five * * * *", "minute", 0, "not a number"),
    ("nan * * * *", "minute", 0, "not a number"),
    ("; * * * *", "minute", 0, "not a number"),
    ("5m * * * *", "minute", 0, "not a number"),
    ("* * * * * *", "expression", 10, "one-minute"),
    ("0 9:30 * * *", "hour", 2, "not a number"),
    ("0 9am * * *", "hour", 2, "not a number"),
    ("$(id) * * * *", "minute", 0, "not a number"),
    ("' OR 1=1 --", "expression", 11, "4 of 5"),
    ("hello world this is cron", "minute", 0, "not a number"),
    # names
    ("0 0 * * monday", "day-of-week", 8, "unknown name 'monday'"),
    ("0 0 * * mo", "day-of-week", 8, "unknown name"),
    ("0 0 * * xyz", "day-of-week", 8, "sun, mon"),
    ("0 0 * january *", "month", 6, "unknown name"),
    ("0 0 * mon *", "month", 6, "jan, feb"),
    ("0 0 * * jan", "day-of-week", 8, "unknown name"),
    ("mon * * * *", "minute", 0, "not a number"),
    ("0 0 mon * *", "day-of-month", 4, "not a number"),
    ("0 0 * * mon-frx", "day-of-week", 12, "unknown name"),
    # ranges
    ("5-1 * * * *", "minute", 0, "backwards"),
    ("0 22-6 * * *", "hour", 2, "backwards"),
    ("0 0 * nov-feb *", "month", 6, "backwards"),
    ("0 0 * * fri-mon", "day-of-week", 8, "backwards"),
    ("0 0 * * sat-sun", "day-of-week", 8, "Sunday at the end of a range is 7"),
    ("5- * * * *", "minute", 2, "missing"),
    ("- * * * *", "minute", 0, "missing"),
    ("1-2-3 * * * *", "minute", 2, "not a number"),
    ("1--2 * * * *", "minute", 2, "not a number"),
    ("*-5 * * * *", "minute", 0, "stand alone"),
    ("5-* * * * *", "minute", 2, "stand alone"),
    # lists
    (", * * * *", "minute", 0, "empty list item"),
    ("1, * * * *", "minute", 2, "empty list item"),
    (",1 * * * *", "minute", 0, "empty list item"),
    ("1,,2 * * * *", "minute", 2, "empty list item"),
    ("0 0 * * mon,", "day-of-week", 12, "empty list item"),
    # steps
    ("*/0 * * * *", "minute", 2, "step 0"),
    ("0-30/0 * * * *", "minute", 5, "step 0"),
    ("*/ * * * *", "minute", 2, "missing"),
    ("*/-5 * * * *", "minute", 2, "whole number"),
    ("*/1.5 * * * *", "minute", 2, "whole number"),
    ("*/x * * * *", "minute", 2, "whole number"),
    ("*/2/3 * * * *", "minute", 2, "whole number"),
    ("/5 * * * *", "minute", 0, "missing"),
    ("*5 * * * *", "minute", 0, "stand alone"),
    ("** * * * *", "minute", 0, "stand alone"),
    ("0 0 * */jan *", "month", 8, "whole number"),
    # other dialects
    ("H * * * *", "minute", 0, "hashed"),
    ("H/15 * * * *", "minute", 0, "hashed"),
    ("H(0-7) * * * *", "minute", 0, "hashed"),
    ("R * * * *", "minute", 0, "random"),
    ("R/5 * * * *", "minute", 0, "random"),
    ("0 r * * *", "hour", 2, "random"),
    ("? * * * *", "minute", 0, "stand alone"),
    ("0 0 ?/2 * *", "day-of-month", 4, "stand alone"),
    ("0 0 * ? *", "month", 6, "stand alone"),
    ("0 0 1C * *", "day-of-month", 4, "not a number"),
    ("~ * * * *", "minute", 0, "not a number"),
    # extensions out of place
    ("L * * * *", "minute", 0, "not a number"),
    ("0 0 * L *", "month", 6, "unknown name"),
    ("0 0 * * L", "day-of-week", 8, "must follow a weekday"),
    ("0 0 L-3 * *", "day-of-month", 4, "stands alone"),
    ("0 0 L/2 * *", "day-of-month", 4, "stands alone"),
    ("0 0 W * *", "day-of-month", 4, "missing"),
    ("0 0 32W * *", "day-of-month", 4, "1-31"),
    ("0 0 1-5W * *", "day-of-month", 4, "not a number"),
    ("0 0 WL * *", "day-of-month", 4, "not a number"),
    ("0 0 2#1 * *", "day-of-month", 4, "not a number"),
    ("0 0 * * mon#0", "day-of-week", 12, "#1 to #5"),
    ("0 0 * * mon#6", "day-of-week", 12, "#1 to #5"),
    ("0 0 * * mon#", "day-of-week", 12, "#1 to #5"),
    ("0 0 * * #2", "day-of-week", 8, "missing"),
    ("0 0 * * mon-fri#2", "day-of-week", 8, "not a number"),
    ("0 0 * * 5W", "day-of-week", 8, "not a number"),
    ("0 0 * * 9L", "day-of-week", 8, "0-7"),
    # dates that never come
    ("0 0 30 2 *", "day-of-month", 4, "never"),
    ("0 0 31 2 *", "day-of-month", 4, "never"),
    ("0 0 30,31 feb *", "day-of-month", 4, "never"),
    ("0 0 31 4 *", "day-of-month", 4, "never"),
    ("0 0 31 2,4,6,9,11 *", "day-of-month", 4, "never"),
    ("0 0 30-31 2 */2", "day-of-month", 4, "never"),
    ("0 0 31W 2 *", "day-of-month", 4, "never"),
    ("0 0 */22 1 friL", "day-of-month", 4, "never"),
    ("0 0 */31 * mon#2", "day-of-month", 4, "never"),
]


@pytest.mark.parametrize(("text", "field", "position", "word"), REFUSED)
def test_refusals_name_field_position_and_reason(text: str, field: str, position: int, word: str) -> None:
    with pytest.raises(CronError) as caught:
        Cron.parse(text)
    error = caught.value
    assert (error.field, error.position) == (field, position)
    assert word in error.reason
    assert str(error).startswith(f"{field}: {error.reason}")


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("* * * * *", "* * * * *"),
        (" \t0\t9  * *\tMON-Fri ", "0 9 * * mon-fri"),
        ("05 007 01 02 00", "5 7 1 2 0"),
        ("0,15,30 1-5/2 */10 JUL,aug 7", "0,15,30 1-5/2 */10 jul,aug 7"),
        ("0 0 l * *", "0 0 L * *"),
        ("0 0 lw,15w,1 * *", "0 0 LW,15W,1 * *"),
        ("0 0 ? jul FRIl,5#2", "0 0 ? jul friL,5#2"),
        (" @Daily ", "@daily"),
        ("@hourly", "@hourly"),
        ("", ""),
    ],
)
def test_canonical_text(text: str, canonical: str) -> None:
    cron = Cron.parse(text)
    assert cron.canonical == canonical
    assert Cron.parse(canonical) == cron


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("* * * * *", CronKind.WILDCARD),
        ("*/5 3 * * *", CronKind.WILDCARD),
        ("0 */2 * * *", CronKind.WILDCARD),
        ("0 *,3 * * *", CronKind.WILDCARD),
        ("0 3,* * * *", CronKind.FIXED),
        ("0-59 0-23 * * *", CronKind.FIXED),
        ("30 2 * * *", CronKind.FIXED),
        ("@hourly", CronKind.WILDCARD),
        ("@daily", CronKind.FIXED),
        ("", CronKind.ON_DEMAND),
    ],
)
def test_kind(text: str, kind: CronKind) -> None:
    assert Cron.parse(text).kind is kind


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
        ("59/15 * * * *", "59 * * * *"),
        ("5/15 * * * *", "5,20,35,50 * * * *"),
        ("0 0 * * 5/1", "0 0 * * 5,6,7"),
        ("0 0 * 6/1 *", "0 0 * 6-12 *"),
        ("5-5/10 * * * *", "5 * * * *"),
        ("*/90 * * * *", "0 * * * *"),
        ("0 0 * * 7", "0 0 * * 0"),
        ("0 0 * * sat-7", "0 0 * * 6,0"),
        ("0 0 * * 0-7", "0 0 * * 0-6"),
        ("0 0 ? * mon", "0 0 * * mon"),
        ("0 0 1 * ?", "0 0 1 * *"),
        ("0 0 */2 * 1", "0 0 */2 * mon"),
    ],
)
def test_spellings_of_the_same_times(text: str, same: str) -> None:
    start, end = UTC.to_epoch(2026, 1, 1), UTC.to_epoch(2028, 1, 1)
    found = Cron.parse(text).between(start, end, UTC, 2000)
    assert found == Cron.parse(same).between(start, end, UTC, 2000)
    assert found


def test_the_longest_expression_is_accepted() -> None:
    text = ",".join(["10"] * 40) + " * * * *"
    assert len(text) == 127
    assert Cron.parse(text).canonical.startswith("10,10,")


def test_rare_dates_are_accepted() -> None:
    for text in ("0 0 29 2 *", "0 0 29 2 */6", "0 0 31 11 1", "0 0 * 2 mon#5", "0 0 29W 2 *", "0 0 L 2 *"):
        assert Cron.parse(text).next(0, UTC) is not None
