"""Cron expressions in plain English: what they mean, and what may surprise their author."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from agentclock.core.cron_parse import SPECS, WEEKDAY, Field, Spec

_MONTHS = ("January", "February", "March", "April", "May", "June",
           "July", "August", "September", "October", "November", "December")  # fmt: skip
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_NTH = ("first", "second", "third", "fourth", "fifth")
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

# More clock times than this are described instead of listed.
_MOST_TIMES = 8


def explain(fields: Sequence[Field]) -> str:
    """One sentence without a full stop: the times, then the days."""
    minutes, hours, days, months, weekdays = fields
    return f"{_times(_values(minutes), _values(hours))}, {_dates(days, months, weekdays)}"


def _times(minutes: list[int], hours: list[int]) -> str:
    step = _step(minutes)
    if len(minutes) * len(hours) <= _MOST_TIMES and not step:
        return "At " + _join([f"{hour:02}:{minute:02}" for hour in hours for minute in minutes])
    if len(minutes) == 1:
        return _hourly(minutes[0], hours)
    if step and len(hours) == 1:
        return f"{_every(step, 'minute')} from {hours[0]:02}:{minutes[0]:02} to {hours[0]:02}:{minutes[-1]:02}"
    if step and minutes[0] < step and minutes[-1] + step > 59:
        return _all_day_long(step, minutes, hours)
    return f"{_past(minutes, step)} past {_hours(hours)}"


def _all_day_long(step: int, minutes: list[int], hours: list[int]) -> str:
    """Minutes that fill the hour at a constant distance."""
    if len(hours) == 24 and minutes[0] == 0:
        return _every(step, "minute") + ("" if 60 % step == 0 else ", counted from each full hour")
    if 1 < len(hours) == hours[-1] - hours[0] + 1 < 24:
        return f"{_every(step, 'minute')} from {hours[0]:02}:{minutes[0]:02} to {hours[-1]:02}:{minutes[-1]:02}"
    if minutes[0] == 0:
        return f"{_every(step, 'minute')} in {_hours(hours)}"
    return f"{_past(minutes, step)} past {_hours(hours)}"


def _hourly(minute: int, hours: list[int]) -> str:
    """One minute of many hours."""
    step = _step(hours)
    first, last = f"{hours[0]:02}:{minute:02}", f"{hours[-1]:02}:{minute:02}"
    if len(hours) == 24:
        return "Every hour" if minute == 0 else f"Every hour at {minute} {_minutes(minute)} past"
    if step and step > 1 and 24 % step == 0 and len(hours) == 24 // step and hours[0] == 0:
        return _every(step, "hour") + ("" if minute == 0 else f" from {first}")
    if step:
        return f"{_every(step, 'hour')} from {first} to {last}"
    return "At " + _join([f"{hour:02}:{minute:02}" for hour in hours])


def _past(minutes: list[int], step: int | None) -> str:
    if step and len(minutes) > 3:
        return f"{_every(step, 'minute')} from {minutes[0]} to {minutes[-1]}"
    return f"At {_join(_runs(minutes, str))} {_minutes(minutes[-1])}"


def _hours(hours: list[int]) -> str:
    """What the minutes belong to: "every hour", "the hours 09 to 17"."""
    if len(hours) == 24:
        return "every hour"
    step = _step(hours)
    if step and step > 1 and len(hours) > 3:
        return f"every {_ordinal(step)} hour from {hours[0]:02} to {hours[-1]:02}"
    return f"the hour{'s' if len(hours) > 1 else ''} {_join(_runs(hours, lambda hour: f'{hour:02}'))}"


def _dates(days: Field, months: Field, weekdays: Field) -> str:
    month = _month_names(months)
    by_day, by_weekday = _month_days(days, month or "the month"), _week_days(weekdays, month or "the month")
    one_run = " to " in month and " and " not in month
    of_month = f" {'from' if one_run else 'in'} {month}" if month else ""
    if by_day and by_weekday:
        if days.star or weekdays.star:
            return f"{by_day}, but only if that is {_only(by_weekday)}"
        return f"{by_day}, and also {by_weekday}{'' if ' of ' in by_weekday else of_month}"
    if by_day:
        return by_day
    return f"{by_weekday or 'every day'}{'' if ' of ' in by_weekday else of_month}"


def _month_days(days: Field, month: str) -> str:
    """ "on the 1st and 15th of the month"; empty if any day will do."""
    values = _values(days)
    step = _step(values)
    if len(values) == 31:
        return ""
    parts = []
    if step and step > 1 and len(values) > 3:
        parts.append(f"every {_ordinal(step)} day from the {_ordinal(values[0])} to the {_ordinal(values[-1])}")
    elif values:
        parts.append("the " + _join(_runs(values, _ordinal)))
    for special in days.specials:
        if special.sign == "W":
            parts.append(f"the weekday (Monday to Friday) nearest to the {_ordinal(special.day)}")
        else:
            parts.append("the last day" if special.sign == "L" else "the last weekday (Monday to Friday)")
    return f"on {_join(parts)} of {month}"


def _week_days(weekdays: Field, month: str) -> str:
    """ "Monday to Friday", "every Sunday", "on the second Friday of the month"; empty if any will do."""
    # Read from Monday: Saturday and Sunday are neighbours.
    values = sorted(_values(weekdays), key=lambda value: value or 7)
    if len(values) == 7:
        return ""
    parts = []
    if values:
        runs = _runs([value or 7 for value in values], lambda value: _WEEKDAYS[value % 7])
        single_run = len(runs) == 1 and len(values) > 1
        parts.append(_join(runs) if single_run else f"every {_join(runs)}")
    nths = []
    for special in weekdays.specials:
        nth = "last" if special.sign == "dL" else _NTH[special.nth - 1]
        nths.append(f"the {nth} {_WEEKDAYS[special.day]}")
    if nths:
        parts.append(f"on {_join(nths)} of {month}")
    return _join(parts)


def _only(weekdays: str) -> str:
    """The weekday phrase as a condition: "a Monday or Friday", "the last Friday of the month"."""
    if weekdays.startswith("on the "):
        return weekdays.removeprefix("on ")
    if weekdays.startswith("every "):
        return weekdays.replace("every ", "a ").replace(" and ", " or ")
    return f"a day from {weekdays}"


def _month_names(months: Field) -> str:
    values = _values(months)
    return "" if len(values) == 12 else _join(_runs(values, lambda month: _MONTHS[month - 1]))


def _values(field: Field) -> list[int]:
    return [value for value in range(60) if field.bits >> value & 1]


def _step(values: list[int]) -> int | None:
    """The constant distance of three values or more."""
    distances = {after - before for before, after in pairwise(values)}
    return distances.pop() if len(values) > 2 and len(distances) == 1 else None


def _runs(values: list[int], show: Callable[[int], str]) -> list[str]:
    """Each value shown; three or more in a row as "a to b"."""
    runs: list[list[int]] = []
    for value in values:
        if runs and runs[-1][-1] == value - 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    shown: list[str] = []
    for run in runs:
        shown += [f"{show(run[0])} to {show(run[-1])}"] if len(run) > 2 else map(show, run)
    return shown


def _join(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _every(step: int | None, unit: str) -> str:
    return f"Every {unit}" if step in {None, 1} else f"Every {step} {unit}s"


def _minutes(count: int) -> str:
    return "minute" if count == 1 else "minutes"


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def warnings(fields: Sequence[Field]) -> list[str]:
    """Legal but often not what was meant."""
    _, _, days, months, weekdays = fields
    found = [warning for spec, field in zip(SPECS, fields, strict=True) for warning in _steps(spec, field)]
    restricted = _month_days(days, "") and _week_days(weekdays, "")
    if restricted and not days.star and not weekdays.star:
        found.append("both day fields are restricted: it runs on days that match either of them")
    found += _missing_days(days, months)
    return found


def _steps(spec: Spec, field: Field) -> Iterator[str]:
    """Steps that reach past the range, or that start anew before the cycle is full."""
    last = 6 if spec is WEEKDAY else spec.high
    for item in field.items:
        high = min(item.high, last) if item.star else item.high
        to_the_end = item.star or high >= last
        if not item.step:
            continue
        if item.step > high - item.low:
            if high > item.low:
                yield f"{spec.name}: step {item.step} is larger than its range: only {item.low} matches"
        elif to_the_end and (last - spec.low + 1) % item.step:
            yield (
                f"{spec.name}: step {item.step} does not divide {last - spec.low + 1}: "
                f"it starts anew at {item.low}, so the last distance is shorter"
            )


def _missing_days(days: Field, months: Field) -> Iterator[str]:
    """Days 29 to 31, asked for by number, that some of the months do not have."""
    asked = {item.high for item in days.items if item.low > 1}
    asked |= {special.day for special in days.specials if special.sign == "W"}
    day = max(asked, default=0)
    without = [name for month, name in enumerate(_MONTHS, 1)
               if months.bits >> month & 1 and day > _LONGEST[month - 1]]  # fmt: skip
    leap = day == 29 and months.bits >> 2 & 1
    if without:
        yield f"day-of-month: {_join(without)} {'has' if len(without) == 1 else 'have'} no day {day}"
    elif leap:
        yield "day-of-month: February has a day 29 in leap years only"
