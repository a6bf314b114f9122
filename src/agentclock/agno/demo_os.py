"""The AgentOS of `agentclock demo`: an agent, a team and a workflow that need neither a network nor a key."""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from agno.agent import Agent
from agno.db.sqlite import SqliteDb
from agno.job_queue import QueueConfig
from agno.models.base import Model
from agno.os import AgentOS
from agno.team import Team
from agno.tools import tool
from agno.utils.log import set_log_level_to_warning
from agno.workflow import Step, Workflow
from fastapi import FastAPI
from sqlalchemy import event

from agentclock.agno.offline import Call, OfflineModel

_DEFAULT_MODEL: Final = "gpt-5-mini"
#: agno lets 32 background runs work at a time unless told otherwise; the others wait as PENDING.
_CONCURRENT_RUNS: Final = 256
#: How long the novelist speaks.
_STORY_SECONDS: Final = 150
STORY: Final = (
    "At midnight the old clock in the hall struck thirteen, as it did once every year. Nobody in the house was awake "
    "to hear it but the cat, who opened one eye, counted on her whiskers, and decided that the clock must know best. "
    "Then she got up, for thirteen was the hour at which mice held their parliament, and she had been asked to speak. "
)


def build_demo_os(db_file: str, base_app: FastAPI | None = None) -> FastAPI:
    """An AgentOS app with agents `greeter`, `novelist` (who talks for minutes) and `cashier` (who has to ask a person
    before it pays), team `newsroom` and workflow `morning-report`.

    Sessions are kept in the SQLite file `db_file`. With `base_app` the AgentOS routes join that app, whose
    own routes win wherever both have one. The agents speak through OpenAI if OPENAI_API_KEY is set (the model
    is named by AGENTCLOCK_DEMO_MODEL), otherwise through an `OfflineModel`. agno's telemetry is off, and
    it logs nothing below warnings.
    """
    for logger in (None, "team", "workflow"):
        set_log_level_to_warning(logger)
    agent_os = AgentOS(
        id="agentclock-demo",
        name="agentclock demo",
        db=_database(db_file),
        agents=[_greeter(), _novelist(), _cashier()],
        teams=[_newsroom()],
        workflows=[_morning_report()],
        base_app=base_app,
        on_route_conflict="preserve_base_app",
        queue=QueueConfig(max_concurrency=_CONCURRENT_RUNS, stop_timeout_seconds=1),
        telemetry=False,
    )
    return agent_os.get_app()


def _database(db_file: str) -> SqliteDb:
    """agno's SQLite without a wait for the disk at each commit, as its calls hold up the event loop."""
    database = SqliteDb(db_file=db_file)

    @event.listens_for(database.db_engine, "connect")
    def _relax(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")

    return database


def _model() -> Model:
    if os.environ.get("OPENAI_API_KEY"):
        from agno.models.openai import OpenAIChat  # noqa: PLC0415 - takes a second, which only users of it should wait

        return OpenAIChat(id=os.environ.get("AGENTCLOCK_DEMO_MODEL", _DEFAULT_MODEL))
    return OfflineModel()


def _agent(agent_id: str, role: str, *tools: Callable[..., str]) -> Agent:
    return Agent(
        id=agent_id,
        name=agent_id.replace("-", " ").title(),
        model=_model(),
        instructions=f"{role} Answer in two short, lively sentences.",
        tools=list(tools),
        telemetry=False,
    )


def _greeter() -> Agent:
    return _agent("greeter", "You greet people and tell them the time.", current_time)


def _novelist() -> Agent:
    return Agent(
        id="novelist",
        name="Novelist",
        model=OfflineModel(script=[f"{word} " for word in STORY.split()], seconds=_STORY_SECONDS),
        telemetry=False,
    )


def _cashier() -> Agent:
    calls = (Call("refund", {"order": "A-1024", "euros": 37}),)
    return Agent(
        id="cashier", name="Cashier", model=OfflineModel(calls=calls), tools=[tool(requires_confirmation=True)(refund)],
        telemetry=False,
    )  # fmt: skip


def _newsroom() -> Team:
    return Team(
        id="newsroom",
        name="Newsroom",
        model=_model(),
        members=[_agent("reporter", "You report what the shop sold.", orders_since_yesterday)],
        instructions="Let the reporter find the facts, then write the headline yourself.",
        telemetry=False,
    )


def _morning_report() -> Workflow:
    return Workflow(
        id="morning-report",
        name="Morning report",
        steps=[
            Step(name="gather", agent=_agent("analyst", "You gather figures.", orders_since_yesterday)),
            Step(name="write", agent=_agent("writer", "You turn figures into a morning note.")),
        ],
        telemetry=False,
    )


def current_time(zone: str = "UTC") -> str:
    """Tells the time of day.

    Args:
        zone: An IANA time zone such as Europe/Rome.
    """
    now = datetime.now(ZoneInfo(zone))
    return f"It is {now:%H:%M:%S} on {now:%A, %d %B %Y} in {zone}."


def refund(order: str, euros: int) -> str:
    """Pays money back to a customer of the sample shop.

    Args:
        order: The number of the order.
        euros: How much.
    """
    return f"Order {order}: {euros} euros were paid back."


def orders_since_yesterday() -> str:
    """Tells how many orders the sample shop has had since yesterday."""
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date()
    orders = 40 + zlib.crc32(yesterday.isoformat().encode()) % 60
    return f"Since {yesterday:%A} the sample shop has had {orders} orders worth {orders * 37:,} euros."
