"""The headers by which a target recognises who calls, and calls that it has seen before."""

from __future__ import annotations

from urllib.parse import quote

from agentclock import __version__
from agentclock.core.delivery import delivery_key
from agentclock.core.instants import iso_utc
from agentclock.core.tracecontext import traceparent
from agentclock.executor.targets import TargetSettings
from agentclock.ports import RunContext


def run_headers(target: TargetSettings, context: RunContext, *, delivery: int = 0) -> dict[str, str]:
    """`Idempotency-Key` is the same for every request that belongs to one attempt, whoever sends it.

    `delivery`: the number of the earlier attempt whose request this one repeats, and whose key it has; 0: its own.
    """
    run, schedule = context.claim.run, context.claim.schedule
    headers = {
        "User-Agent": f"agentclock/{__version__}",
        "Idempotency-Key": delivery_key(run.id, delivery or run.attempt),
        "X-Agentclock-Schedule": schedule.id,
        "X-Agentclock-Run": run.id,
        "X-Agentclock-Fire-At": iso_utc(run.fire_at),
        "X-Agentclock-Attempt": str(run.attempt),
        "traceparent": traceparent(run, is_sampled=context.is_sampled),
    }
    if target.kind == "agentos" and schedule.user_id is not None:
        # Header values are Latin-1 and lose their outer blanks; percent-encoding keeps every id as it is.
        headers["X-Schedule-Owner"] = quote(schedule.user_id, safe="")
    return headers
