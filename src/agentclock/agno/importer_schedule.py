"""One row of agno's schedules as a schedule of ours, and what will be different about it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from agentclock.agno.importer_cron import Comparer, read_expression
from agentclock.agno.importer_source import Row
from agentclock.agno.schedule_rows import AGNOS, PROVENANCE_COLUMNS, check_path
from agentclock.core.cron import Cron, CronError
from agentclock.core.errors import InvalidField
from agentclock.core.instants import iso_utc
from agentclock.core.model import SECOND, Instant, Json, Schedule, Target
from agentclock.core.owners import foreign_claim
from agentclock.core.zones import Zone
from agentclock.drafts import ScheduleDraft, read_draft, with_values
from agentclock.timing import retimed

#: agno takes a schedule from a worker that has held it for longer than this, even if that one still works.
_LOCK_SECONDS: Final = 300
#: What agno has instead of 0 or nothing.
_AGNO_DEFAULTS: Final = {"timeout_seconds": 3600, "retry_delay_seconds": 60}
_AUTHORITY: Final = "_agno_authorization"
_COMPANY_ID: Final = "agno-company-automation"
#: What changes by itself or by the import, and so tells nothing about whether a schedule is the one in agno.
_BY_ITSELF: Final[Mapping[str, Any]] = {
    "next_fire_at": None,
    "last_fire_at": None,
    "run_count": 0,
    "timetable_since": 0,
    "zone_data_version": None,
    "version": 1,
    "updated_at": None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """Something about one field that whoever moves should know. `fires_differently`: agno and we differ in when."""

    field: str
    text: str
    fires_differently: bool = False


def schedule_of(row: Row, now: Instant) -> Schedule:
    """The schedule with agno's id, owner, state and time of creation; its next fire by our rules, from `now` on.

    Raises InvalidField for the first field that cannot be taken over.
    """
    if row.get("managed_by") == "company" or row["id"] == _COMPANY_ID:
        raise InvalidField(
            "managed_by", "belongs to agno's Company runtime, whose runs need rights that only agno's scheduler gives"
        )
    check_path(row.get("endpoint"))
    values = read_draft(ScheduleDraft, _given(row)).values()
    drift = _drift(row)
    blank = Schedule(
        id=str(row["id"]),
        name=values["name"],
        user_id=row.get("user_id"),
        target=Target(endpoint=values["endpoint"]),
        enabled=bool(row.get("enabled", True)) and drift is None,
        disabled_reason=row.get("disabled_reason") or drift,
        managed_by=row.get("managed_by"),
        provenance={name: row[name] for name in PROVENANCE_COLUMNS if row.get(name)} or None,
        timetable_since=now,
        created_at=_instant(row.get("created_at")) or now,
        updated_at=_instant(row.get("updated_at")),
    )
    return retimed(with_values(blank, values), values, now)


def changed_fields(theirs: Schedule, ours: Schedule) -> list[str]:
    """The fields in which two schedules differ, what changes by itself left out."""
    one, other = (replace(schedule, **_BY_ITSELF) for schedule in (theirs, ours))
    return [name for name in Schedule.__slots__ if getattr(one, name) != getattr(other, name)]


def remarks_on(row: Row, schedule: Schedule, now: Instant, comparer: Comparer | None) -> Iterator[Remark]:
    """What is different from now on. Without `comparer` the fires of a year are not compared."""
    yield from _on_timetable(row, schedule, comparer)
    if schedule.enabled and not _is_locked(row):
        yield from _on_next_run(row, schedule, now)
    yield from _on_lock(row, now)
    yield from _on_call(row, schedule)


def _given(row: Row) -> dict[str, Any]:
    """agno's fields as somebody would write them here."""
    names = ("name", "endpoint", "method", "description", "timezone", "max_retries")
    given = {name: row[name] for name in names if row.get(name) is not None}
    given |= {name: row.get(name) or default for name, default in _AGNO_DEFAULTS.items()}
    given["payload"] = _own_payload(row)
    given["cron_expr"] = row.get("cron_expr") or ""
    if given["cron_expr"]:
        try:
            given["cron_expr"] = read_expression(given["cron_expr"]).text
        except CronError as error:
            raise InvalidField("cron_expr", f"{given['cron_expr']!r}: {error.field}: {error.reason}") from None
    return given


def _own_payload(row: Row) -> Json:
    """Without what is agno's, and without the user that agno would not have sent either: a schedule's owner counts."""
    payload = row.get("payload")
    if not isinstance(payload, dict):
        return payload
    foreign = {"user_id"} if foreign_claim(payload, row.get("user_id")) else set()
    return {name: value for name, value in payload.items() if not name.startswith(AGNOS) and name not in foreign}


def _drift(row: Row) -> str | None:
    """Why agno would refuse to run it: a control plane made it for another target than its endpoint names."""
    kind, target_id, endpoint = row.get("target_type"), row.get("target_id"), str(row.get("endpoint"))
    if row.get("managed_by") is None or not kind or not target_id:
        return None
    if endpoint.rstrip("/") == f"/{kind}s/{target_id}/runs":
        return None
    return f"endpoint_drift:{endpoint}!={kind}:{target_id}"


def _on_timetable(row: Row, schedule: Schedule, comparer: Comparer | None) -> Iterator[Remark]:
    theirs = row.get("cron_expr") or ""
    if not schedule.cron_expr:
        yield Remark(field="cron_expr", text="on demand: it runs only when triggered, as in agno")
        return
    if schedule.cron_expr != theirs:
        yield Remark(field="cron_expr", text=f"{theirs!r} is written {schedule.cron_expr!r} here")
    if comparer is None:
        return
    cron, zone = Cron.parse(schedule.cron_expr), Zone.load(schedule.timezone)
    for text in comparer.differences(theirs, str(row.get("timezone") or "UTC"), cron, zone):
        yield Remark(field="cron_expr", text=text, fires_differently=True)


def _on_next_run(row: Row, schedule: Schedule, now: Instant) -> Iterator[Remark]:
    planned, ours = _instant(row.get("next_run_at")), schedule.next_fire_at
    if ours is None:
        return
    here = f"here the next fire is {iso_utc(ours)}"
    if planned is None:
        text = f"agno has planned no run and would never fire it; {here}"
    elif planned <= now:
        late = (now - planned) // SECOND
        text = f"due since {late} s: agno would fire it once, that late, at its next look; {here}, and none is made up"
    elif planned != ours:
        text = f"agno has planned {iso_utc(planned)}; {here}"
    else:
        return
    yield Remark(field="next_run_at", text=text, fires_differently=True)


def _is_locked(row: Row) -> bool:
    return row.get("locked_by") is not None


def _on_lock(row: Row, now: Instant) -> Iterator[Remark]:
    if not _is_locked(row):
        return
    held_for = (now - (_instant(row.get("locked_at")) or now)) // SECOND
    text = f"agno's worker {row['locked_by']} has been running it for {held_for} s"
    if held_for >= _LOCK_SECONDS:
        text += f": a copy is started after {_LOCK_SECONDS} s, or the worker is gone"
    yield Remark(field="locked_by", text=f"{text}; let it end before agno's scheduler is switched off")


def _on_call(row: Row, schedule: Schedule) -> Iterator[Remark]:
    payload = row.get("payload")
    reserved = [name for name in payload if name.startswith(AGNOS)] if isinstance(payload, dict) else []
    if reserved:
        text = f"{', '.join(reserved)} belongs to agno and is left out"
        if _AUTHORITY in reserved:
            text += ": agno runs it with the rights of who made it, here it runs with those of the target's credentials"
        yield Remark(field="payload", text=text)
    if foreign_claim(payload, schedule.user_id):
        text = f"user_id is left out: it runs for its owner {schedule.user_id!r}, as it did in agno"
        yield Remark(field="payload", text=text)
    if schedule.target.component is None:
        text = f"{schedule.timeout_seconds} s bound a plain request here, which agno lets take as long as it wants"
        yield Remark(field="timeout_seconds", text=text)
    if schedule.retry.max_retries:
        yield Remark(field="max_retries", text="agno repeats after any failure; here a 4xx answer is final")
    if (reason := _drift(row)) is not None:
        yield Remark(field="endpoint", text=f"agno would refuse to run it, so it is disabled here: {reason}")


def _instant(seconds: object) -> Instant | None:
    return seconds * SECOND if isinstance(seconds, int) else None
