"""The schedules of a run, from its seed: every policy there is, together as many fires a second as wanted."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

#: Drawn from for each schedule; None: a cron expression instead.
INTERVALS: Final = (1, 1, 2, 2, 3, 5, 7, 10, 15, 20, 30, 60, None)
EXPRESSIONS: Final = ("* * * * *", "*/2 * * * *")
ENDPOINTS: Final = ("/steady/{n}", "/flaky/{n}")
METHODS: Final = ("POST", "POST", "GET", "PUT")
#: Some slow calls are in flight whenever something strikes, and their retries when a frozen worker comes back.
SLOW: Final = {
    "interval_seconds": 2,
    "overlap": "allow",
    "misfire_grace_seconds": 60,
    "timeout_seconds": 20,
    "on_lost": "retry",
    "max_retries": 3,
    "retry_delay_seconds": 1,
}
#: How many such schedules for each 10 fires a second.
SLOW_SHARE: Final = 2
#: Agents cost far more than a plain call: seconds between the fires of each, and how many of them for each 10 fires a
#: second.
AGENTS: Final = (("quick", 5, 2), ("broken", 20, 1), ("long", 20, 2))


def population(seed: str, fires_per_second: float, long_seconds: float) -> Iterator[dict[str, Any]]:
    """Drafts as POST /schedules takes them, until they add up to `fires_per_second`."""
    draw = random.Random(f"{seed}/population")
    rate, number = 0.0, 0
    for agent, interval_seconds, share in AGENTS:
        for _ in range(max(1, round(share * fires_per_second / 10))):
            number += 1
            rate += 1 / interval_seconds
            yield _agent_draft(draw, number, agent, interval_seconds, long_seconds)
    for _ in range(max(1, round(SLOW_SHARE * fires_per_second / 10))):
        number += 1
        rate += 1 / 2
        yield {"name": f"slow {number}", "target": "hooks", "endpoint": f"/slow/{number}", **SLOW}
    while rate < fires_per_second:
        number += 1
        interval_seconds = draw.choice(INTERVALS)
        rate += 1 / (interval_seconds or 60)
        yield _plain_draft(draw, number, interval_seconds)


def _plain_draft(draw: random.Random, number: int, interval_seconds: int | None) -> dict[str, Any]:
    timing = {"interval_seconds": interval_seconds} if interval_seconds else {"cron_expr": draw.choice(EXPRESSIONS)}
    return {
        "name": f"plain {number}",
        "target": "hooks",
        "endpoint": draw.choice(ENDPOINTS).format(n=number),
        "method": draw.choice(METHODS),
        "payload": {"number": number},
        "timeout_seconds": draw.choice((3, 8, 20)),
        "jitter_seconds": draw.choice((0, 0, 0, 0, 2)),
        **timing,
        **_policies(draw),
    }


def _agent_draft(
    draw: random.Random, number: int, agent: str, interval_seconds: int, long_seconds: float
) -> dict[str, Any]:
    return {
        "name": f"{agent} {number}",
        "endpoint": f"/agents/{agent}/runs",
        "payload": {"message": f"This is number {number}."},
        "interval_seconds": interval_seconds,
        "timeout_seconds": round(long_seconds * 4) + 30,
        **_policies(draw),
    }


def _policies(draw: random.Random) -> dict[str, Any]:
    return {
        "overlap": draw.choice(("skip", "queue", "allow", "allow", "cancel")),
        "catch_up": draw.choice(("latest", "latest", "none", "all")),
        "catch_up_window_seconds": draw.choice((10, 86_400)),
        "misfire_grace_seconds": draw.choice((1, 3, 60)),
        "max_retries": draw.choice((0, 1, 2, 4)),
        "retry_delay_seconds": draw.choice((1, 2)),
        "retry_backoff": draw.choice(("fixed", "exponential")),
        "on_lost": draw.choice((None, None, "retry", "fail")),
    }
