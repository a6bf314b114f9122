"""What the demo has on its schedules: what goes well, what fails, what waits for a person and what takes its time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from itertools import count
from typing import Any, Final

from fastapi import FastAPI, Response

from agentclock.app import Clockwork
from agentclock.core.actors import Actor
from agentclock.core.instants import iso_utc
from agentclock.core.model import SECOND

FIRST_FIRE_SECONDS: Final = 10
#: Runs that are made at once, beside the timetable, so that there is something to see.
_AT_ONCE: Final = ("long-story-every-10-minutes", "refund-asks-a-person")
_SLOW_SECONDS: Final = 12

#: In whose name the demo does what it does.
BY: Final = Actor("demo", "cli")


def add_endpoints(app: FastAPI) -> None:
    """Plain endpoints, as yours might be."""
    numbers = count(1)
    app.post("/demo/webhook", tags=["Demo"])(_webhook)
    app.post("/demo/slow", tags=["Demo"])(_slow)

    async def unreliable(response: Response) -> dict[str, Any]:
        """It answers every third request."""
        number = next(numbers)
        if number % 3:
            response.status_code = HTTPStatus.BAD_GATEWAY
            return {"detail": f"upstream shop-{number % 2} did not answer"}
        return {"received": number}

    app.post("/demo/unreliable", tags=["Demo"])(unreliable)


async def _webhook(body: dict[str, Any] | None = None) -> dict[str, Any]:
    """It answers what it got."""
    return {"received": body}


async def _slow() -> dict[str, Any]:
    """It takes longer than the interval at which it is called."""
    await asyncio.sleep(_SLOW_SECONDS)
    return {"took_seconds": _SLOW_SECONDS}


async def create_schedules(clockwork: Clockwork) -> None:
    """Nothing where there are schedules already."""
    scheduler = clockwork.scheduler
    if (await scheduler.list()).total_count:
        return
    once_at = iso_utc((await clockwork.store.now()) + FIRST_FIRE_SECONDS * SECOND)
    ids = {}
    for draft in _drafts(once_at):
        ids[draft["name"]] = (await scheduler.create(draft, by=BY)).id
    await scheduler.disable(ids["paused-by-hand"], by=BY)
    for name in _AT_ONCE:
        await scheduler.trigger(ids[name], {"reason": "so that there is something to see at once"}, by=BY)


def _drafts(once_at: str) -> Iterator[Mapping[str, Any]]:
    yield from _agents(once_at)
    yield from _endpoints()
    yield {
        "name": "nightly-report",
        "description": "At an hour that a night in March lacks and a night in October has twice.",
        "cron_expr": "30 2 * * *",
        "timezone": "Europe/Rome",
        "endpoint": "/workflows/morning-report/runs",
        "payload": {"message": "Write the night's report."},
        "tags": ["nightly"],
    }
    yield {
        "name": "paused-by-hand",
        "cron_expr": "*/5 * * * *",
        "endpoint": "/agents/greeter/runs",
        "payload": {"message": "Nobody lets me run."},
    }


def _agents(once_at: str) -> Iterator[Mapping[str, Any]]:
    yield {
        "name": "agent-every-minute",
        "cron_expr": "* * * * *",
        "timezone": "Europe/Rome",
        "endpoint": "/agents/greeter/runs",
        "payload": {"message": "Greet me and tell me the time."},
        "tags": ["agents"],
    }
    yield {
        "name": "agent-once-in-10-s",
        "run_at": once_at,
        "endpoint": "/agents/greeter/runs",
        "payload": {"message": "Say hello, this is the first run!"},
        "tags": ["agents"],
    }
    yield {
        "name": "team-every-40-s",
        "interval_seconds": 40,
        "endpoint": "/teams/newsroom/runs",
        "payload": {"message": "Give me today's headline."},
        "tags": ["agents"],
    }
    yield {
        "name": "workflow-every-2-minutes",
        "cron_expr": "*/2 * * * *",
        "endpoint": "/workflows/morning-report/runs",
        "payload": {"message": "Write this morning's report."},
        "tags": ["agents"],
    }
    yield {
        "name": "long-story-every-10-minutes",
        "description": "An agent that speaks for minutes: watch it, reload the page, cancel it.",
        "cron_expr": "*/10 * * * *",
        "endpoint": "/agents/novelist/runs",
        "payload": {"message": "Tell me a long story."},
        "tags": ["agents", "long"],
    }
    yield {
        "name": "refund-asks-a-person",
        "description": "An agent whose tool needs your approval.",
        "cron_expr": "0 * * * *",
        "endpoint": "/agents/cashier/runs",
        "payload": {"message": "Refund order A-1024."},
        "tags": ["agents", "approval"],
    }


def _endpoints() -> Iterator[Mapping[str, Any]]:
    yield {
        "name": "plain-endpoint-every-15-s",
        "interval_seconds": 15,
        "endpoint": "/demo/webhook",
        "payload": {"ping": "from the clock"},
        "tags": ["endpoints"],
    }
    yield {
        "name": "unreliable-every-20-s",
        "description": "Fails two times out of three; one retry helps sometimes.",
        "interval_seconds": 20,
        "endpoint": "/demo/unreliable",
        "payload": {},
        "max_retries": 1,
        "retry_delay_seconds": 2,
        "tags": ["endpoints"],
    }
    yield {
        "name": "wrong-path-every-30-s",
        "description": "Nobody answers there.",
        "interval_seconds": 30,
        "endpoint": "/demo/nowhere",
        "payload": {},
        "tags": ["endpoints"],
    }
    yield {
        "name": "slow-endpoint-every-5-s",
        "description": "Each call takes 12 s: fires that come meanwhile are skipped, and counted.",
        "interval_seconds": 5,
        "endpoint": "/demo/slow",
        "payload": {},
        "overlap": "skip",
        "tags": ["endpoints"],
    }
