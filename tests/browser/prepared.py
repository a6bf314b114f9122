"""A database with half a day of history, for pictures that look like the dashboard of somebody who uses it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.pg import in_thread

from agentclock.app import Clockwork, assemble
from agentclock.config import Settings
from agentclock.core.ids import fire_run_id
from agentclock.core.model import Attempt, Cause, Run, RunStatus, Schedule, Usage
from agentclock.timing import occurrences

HOURS: Final = 12
#: Name, timetable, zone, endpoint, usual seconds, share of failures.
_DAY: Final = (
    ("inbox-triage", "*/10 * * * *", "Europe/Berlin", "/agents/greeter/runs", 24, 0.02),
    ("market-brief", "*/30 7-22 * * mon-fri", "America/New_York", "/teams/newsroom/runs", 160, 0.0),
    ("support-digest", "0 * * * *", "Europe/London", "/workflows/morning-report/runs", 420, 0.1),
    ("price-watch", "*/15 * * * *", "Asia/Tokyo", "/agents/greeter/runs", 45, 0.25),
    ("crm-sync", "5,35 * * * *", "UTC", "/demo/webhook", 8, 0.0),
    ("invoice-check", "20 */2 * * *", "Europe/Rome", "/agents/greeter/runs", 900, 0.15),
    ("nightly-report", "30 2 * * *", "Europe/Rome", "/workflows/morning-report/runs", 1500, 0.0),
    ("social-monitor", "*/20 * * * *", "America/Los_Angeles", "/teams/newsroom/runs", 75, 0.05),
    ("refund-review", "0 */3 * * *", "UTC", "/agents/cashier/runs", 60, 0.0),
    ("weekly-newsletter", "0 9 * * mon", "Europe/Paris", "/agents/novelist/runs", 600, 0.0),
    ("backup-catalogue", "45 * * * *", "UTC", "/demo/slow", 12, 0.0),
    ("long-story", "*/10 * * * *", "UTC", "/agents/novelist/runs", 150, 0.0),
)
_ERRORS: Final = (
    "HTTP 502 Bad Gateway: upstream did not answer",
    "timed out after 120 s",
    "ModelProviderError: rate limit reached for gpt-5-mini, try again in 20 s",
)


def prepare(folder: Path) -> None:
    in_thread(lambda: _prepare(folder))


async def _prepare(folder: Path) -> None:
    clockwork = assemble(Settings.load(None, database=str(folder / "agentclock.db")))
    await clockwork.store.open()
    try:
        dice = random.Random(7)
        for name, cron, zone, endpoint, seconds, failing in _DAY:
            draft = {
                "name": name, "cron_expr": cron, "timezone": zone, "endpoint": endpoint,
                "payload": {"message": f"Do the {name.replace('-', ' ')}."}, "tags": [endpoint.split("/")[1]],
            }  # fmt: skip
            schedule = await clockwork.scheduler.create(draft)
            await _give_history(clockwork, schedule, seconds, failing, dice)
    finally:
        await clockwork.stop()


async def _give_history(
    clockwork: Clockwork, schedule: Schedule, seconds: float, failing: float, dice: random.Random
) -> None:
    now = await clockwork.store.now()
    began = now - HOURS * 3_600_000
    fires = [one.at for one in occurrences(schedule, began, 200) if one.at < now - 120_000]
    made = list(_runs(schedule, fires, seconds, failing, dice))
    await clockwork.store.insert_history([run for run, _ in made], [attempt for _, attempt in made])


def _runs(
    schedule: Schedule, fires: list[int], seconds: float, failing: float, dice: random.Random
) -> Iterator[tuple[Run, Attempt]]:
    for fire_at in fires:
        failed = dice.random() < failing
        started_at = fire_at + dice.randint(2, 14)
        completed_at = started_at + int(seconds * 1000 * dice.lognormvariate(0, 0.25))
        status = RunStatus.FAILED if failed else RunStatus.SUCCESS
        error = dice.choice(_ERRORS) if failed else None
        common: dict[str, Any] = {"status": status, "error": error, "completed_at": completed_at}
        identity = fire_run_id(schedule.id, fire_at)
        run = Run(
            id=identity, schedule_id=schedule.id, cause=Cause.SCHEDULE, fire_at=fire_at, attempt=1,
            created_at=fire_at, started_at=started_at, status_code=502 if failed else 200, **common,
        )  # fmt: skip
        tokens = int(seconds * dice.uniform(20, 60))
        usage = Usage(model="gpt-5-mini", input_tokens=tokens, output_tokens=tokens // 4, total_tokens=tokens * 5 // 4)
        yield run, Attempt(run_id=identity, number=1, started_at=started_at, usage=usage, **common)
