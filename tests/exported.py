"""What Kubernetes and AWS make of what `agentclock export` writes, told again from their documentation."""

from __future__ import annotations

import calendar
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

#: A leap year whose first day is a Saturday.
YEAR: Final = 2028

_MONTHS: Final = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_WEEKDAYS: Final = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]


def year_of(minutes: set[int], hours: set[int], months: set[int], is_day: Callable[[date], bool]) -> list[int]:
    """Epoch seconds, ascending, of all fires of `YEAR` in UTC."""
    found = []
    day = date(YEAR, 1, 1)
    while day.year == YEAR:
        if day.month in months and is_day(day):
            midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
            found += [midnight + hour * 3600 + minute * 60 for hour in sorted(hours) for minute in sorted(minutes)]
        day += timedelta(days=1)
    return found


def weekday_of(day: date) -> int:
    """Sunday is 0."""
    return day.isoweekday() % 7


# Kubernetes: robfig/cron 3, ParseStandard


def kubernetes_year(expression: str) -> list[int]:
    """Raises ValueError for what a CronJob's schedule must not be."""
    fields = expression.split()
    if len(fields) != 5:
        raise ValueError(f"{len(fields)} fields")
    bounds = ((0, 59, None), (0, 23, None), (1, 31, None), (1, 12, _MONTHS), (0, 6, _WEEKDAYS))
    read = [_robfig(field, low, high, names) for field, (low, high, names) in zip(fields, bounds, strict=True)]
    (minutes, _), (hours, _), (days, day_star), (months, _), (weekdays, weekday_star) = read

    def is_day(day: date) -> bool:
        by_day, by_weekday = day.day in days, weekday_of(day) in weekdays
        return (by_day and by_weekday) if day_star or weekday_star else (by_day or by_weekday)

    return year_of(minutes, hours, months, is_day)


def _robfig(field: str, low: int, high: int, names: list[str] | None) -> tuple[set[int], bool]:
    """The values, and whether a star (without a greater step) is among them."""
    values: set[int] = set()
    star = False
    for part in field.split(","):
        body, _, step_text = part.partition("/")
        step = int(step_text) if step_text else 1
        first_text, dash, last_text = body.partition("-")
        if body in ("*", "?"):
            first, last = low, high
            star |= step == 1
        else:
            first = _number(first_text, names, low)
            last = _number(last_text, names, low) if dash else high if step_text else first
        if not low <= first <= last <= high or step < 1:
            raise ValueError(f"{part} is not within {low}-{high}")
        values |= set(range(first, last + 1, step))
    return values, star


def _number(text: str, names: list[str] | None, low: int) -> int:
    if names and text.lower() in names:
        return names.index(text.lower()) + low
    return int(text)


# AWS: cron(minutes hours day-of-month month day-of-week year)


def aws_year(expression: str) -> list[int]:
    """Raises ValueError for what AWS does not document."""
    inner = re.fullmatch(r"cron\((\S+) (\S+) (\S+) (\S+) (\S+) \*\)", expression)
    if inner is None:
        raise ValueError("not cron(...) with six fields")
    minute, hour, days, month, weekdays = inner.groups()
    if (days == "?") == (weekdays == "?"):
        raise ValueError("exactly one of the day fields must be ?")
    is_day = _aws_day(days) if weekdays == "?" else _aws_weekday(weekdays)
    return year_of(_aws(minute, 0, 59), _aws(hour, 0, 23), _aws(month, 1, 12), is_day)


def _aws(field: str, low: int, high: int, names: list[str] | None = None) -> set[int]:
    if field == "*":
        return set(range(low, high + 1))
    values: set[int] = set()
    for part in field.split(","):
        if step := re.fullmatch(r"(\d+)/(\d+)", part):
            values |= set(range(int(step[1]), high + 1, int(step[2])))
            continue
        first, _, last = part.partition("-")
        begin = _number(first, names, low)
        end = _number(last, names, low) if last else begin
        if not low <= begin <= end <= high:
            raise ValueError(part)
        values |= set(range(begin, end + 1))
    return values


def _aws_day(field: str) -> Callable[[date], bool]:
    if field == "L":
        return lambda day: day.day == _length(day)
    if nearest := re.fullmatch(r"(\d+)W", field):
        return lambda day: day.day == _nearest_weekday(day, int(nearest[1]))
    days = _aws(field, 1, 31)
    return lambda day: day.day in days


def _aws_weekday(field: str) -> Callable[[date], bool]:
    if last := re.fullmatch(r"([1-7])L", field):
        return lambda day: weekday_of(day) + 1 == int(last[1]) and day.day + 7 > _length(day)
    if nth := re.fullmatch(r"([1-7])#([1-5])", field):
        return lambda day: weekday_of(day) + 1 == int(nth[1]) and (day.day - 1) // 7 + 1 == int(nth[2])
    weekdays = _aws(field, 1, 7, _WEEKDAYS)
    return lambda day: weekday_of(day) + 1 in weekdays


def _length(day: date) -> int:
    return calendar.monthrange(day.year, day.month)[1]


def _nearest_weekday(day: date, wanted: int) -> int:
    near = sorted(range(1, _length(day) + 1), key=lambda number: (abs(number - wanted), number))
    return next(number for number in near if day.replace(day=number).isoweekday() <= 5)


# the request of an EventBridge rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    method: str
    url: str
    headers: dict[str, str]
    body: str


def scheduler_event(template: dict[str, Any], name: str, scheduled_time: str) -> dict[str, Any]:
    """What the Scheduler entry puts on the bus when it is due."""
    target = template["Resources"][name]["Properties"]["Target"]
    detail = target["Input"].replace("<aws.scheduler.scheduled-time>", scheduled_time)
    event = {"version": "0", "id": f"event-of-{scheduled_time}", "time": scheduled_time, "detail": json.loads(detail)}
    parameters = target["EventBridgeParameters"]
    return event | {"source": parameters["Source"], "detail-type": parameters["DetailType"]}


def matches(pattern: dict[str, Any], event: dict[str, Any]) -> bool:
    return all(
        matches(wanted, event.get(key, {})) if isinstance(wanted, dict) else event.get(key) in wanted
        for key, wanted in pattern.items()
    )


def requests(template: dict[str, Any], event: dict[str, Any], secrets: dict[str, str]) -> Iterator[Sent]:
    """The requests of all rules that the event matches, as their API destinations make them."""
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Events::Rule" and matches(resource["Properties"].get("EventPattern", {}), event):
            for target in resource["Properties"]["Targets"]:
                yield _request(template["Resources"], target, event, secrets)


def _request(resources: dict[str, Any], target: dict[str, Any], event: dict[str, Any], secrets: dict[str, str]) -> Sent:
    destination = resources[target["Arn"]["Fn::GetAtt"][0]]["Properties"]
    connection = resources[destination["ConnectionArn"]["Fn::GetAtt"][0]]["Properties"]
    key = connection["AuthParameters"]["ApiKeyAuthParameters"]
    credential = re.sub(r"\{\{resolve:secretsmanager:(.+?)\}\}", lambda found: secrets[found[1]], key["ApiKeyValue"])
    given = target["HttpParameters"]["HeaderParameters"].items()
    headers = {name: _at(event, value) if value.startswith("$.") else value for name, value in given}
    transformer = target["InputTransformer"]
    body = transformer["InputTemplate"]
    for name, path in transformer["InputPathsMap"].items():
        body = body.replace(f"<{name}>", json.dumps(_at(event, path)))
    headers |= {"Content-Type": "application/json; charset=utf-8", "User-Agent": "Amazon/EventBridge/ApiDestinations"}
    headers |= {"Range": "bytes=0-1048575", "Connection": "close", key["ApiKeyName"]: credential}
    return Sent(method=destination["HttpMethod"], url=destination["InvocationEndpoint"], headers=headers, body=body)


def _at(event: dict[str, Any], path: str) -> Any:
    found: Any = event
    for part in path.removeprefix("$.").split("."):
        found = found[part]
    return found
