"""The headers by which a target recognises who calls, and calls that it has seen before."""

from __future__ import annotations

from urllib.parse import quote

from agentclock import __version__
from agentclock.core.instants import iso_utc
from agentclock.executor.targets import TargetSettings
from agentclock.ports import RunContext


def run_headers(target: TargetSettings, context: RunContext) -> dict[str, str]:
    """`Idempotency-Key` is the same for every request that belongs to one attempt, whoever sends it."""
    run, schedule = context.claim.run, context.claim.schedule
    headers = {
        "User-Agent": f"agentclock/{__version__}",
        "Idempotency-Key": f"{run.id}.{run.attempt}",
        "X-Agentclock-Schedule": schedule.id,
        "X-Agentclock-Run": run.id,
        "X-Agentclock-Fire-At": iso_utc(run.fire_at),
        "X-Agentclock-Attempt": str(run.attempt),
    }
    if target.kind == "agentos" and schedule.user_id is not None:
        # Header values are Latin-1 and lose their outer blanks; percent-encoding keeps every id as it is.
        headers["X-Schedule-Owner"] = quote(schedule.user_id, safe="")
    return headers
