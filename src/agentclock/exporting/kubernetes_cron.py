"""Our cron dialect in that of Kubernetes (robfig/cron 3): when the same minutes match, the same text is kept.

Differences: there a step takes the special meaning from a star (``*/2`` in one day field and a restricted other one
are OR, here AND); weekdays end at 6; there is no ``L``, ``W`` and ``#``.
"""

from __future__ import annotations

from agentclock.core.cron import Cron
from agentclock.core.cron_parse import Field
from agentclock.exporting.handover import Inexpressible, day_rule, runs_of, values_of


def kubernetes_cron(cron: Cron) -> str:
    """The `spec.schedule` of a CronJob with the same local times. Raises Inexpressible."""
    minute, hour, _, month, _ = cron.fields
    rule = day_rule(cron)
    for name, field in (("day-of-month", rule.days), ("day-of-week", rule.weekdays)):
        if field is not None and field.specials:
            raise Inexpressible(name, f"{field.text}: Kubernetes has neither L, W nor #")
    if rule.days and rule.weekdays and not rule.either:
        raise Inexpressible(
            "day-of-month",
            f"{rule.days.text} and {rule.weekdays.text} must both match here, since one begins with *; "
            "in Kubernetes either would do",
        )
    days = "*" if rule.days is None else rule.days.text
    weekdays = "*" if rule.weekdays is None else _weekdays(rule.weekdays)
    return f"{minute.text} {hour.text} {days} {month.text} {weekdays}"


def _weekdays(field: Field) -> str:
    """From the values: where Sunday may be 7, steps and ranges mean something else."""
    runs = runs_of(values_of(field.bits))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
