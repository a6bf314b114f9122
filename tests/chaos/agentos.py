"""A real AgentOS whose agents need no key, which records every request to start a run and every run that did start.

    python -m tests.chaos.agentos --record FILE --database FILE --port PORT --long-seconds 13

`quick` answers at once, `long` works for longer than a lease lasts, `broken` fails each time. That a run started is
noted by the agent itself, before its model is asked: under the id of the agent run, whoever asked for it.
"""

from __future__ import annotations

import argparse
import itertools
import re
from pathlib import Path
from typing import Any, Final

import uvicorn
from agno.agent import Agent
from agno.job_queue import QueueConfig
from agno.os import AgentOS
from agno.run import RunContext
from agno.utils.log import set_log_level_to_warning
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tests.chaos.journal import Journal
from tests.chaos.target import HEADERS

from agentclock.agno.demo_os import _database
from agentclock.agno.offline import OfflineModel

_START: Final = re.compile(r"/(?:agents|teams|workflows)/[^/]+/runs/?")


class RecordedStarts:
    """An ASGI layer that notes each request to start a run, and the status of its answer."""

    def __init__(self, app: ASGIApp, journal: Journal) -> None:
        self._app = app
        self._journal = journal
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not _START.fullmatch(scope["path"]):
            return await self._app(scope, receive, send)
        number = next(self._numbers)
        sent = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        facts = {name: sent.get(header.lower()) for name, header in HEADERS.items()}
        self._journal.note("call", number=number, method="POST", path=scope["path"], **facts)

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._journal.note("answer", number=number, answer=str(message["status"]))
            await send(message)

        return await self._app(scope, receive, noting)


def build(journal: Journal, database: str, long_seconds: float) -> ASGIApp:
    set_log_level_to_warning(None)

    def started(run_context: RunContext, agent: Agent) -> None:
        journal.note("start", agent_run=run_context.run_id, agent=agent.id)

    def agent(agent_id: str, **model: Any) -> Agent:
        return Agent(id=agent_id, name=agent_id, model=OfflineModel(**model), pre_hooks=[started], telemetry=False)

    agents = [agent("quick", delay_seconds=0.02), agent("long", seconds=long_seconds), agent("broken", fail_with="No.")]
    agent_os = AgentOS(
        id="chaos", db=_database(database), agents=agents, queue=QueueConfig(max_concurrency=256), telemetry=False
    )
    return RecordedStarts(agent_os.get_app(), journal)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--long-seconds", type=float, default=13.0)
    options = parser.parse_args()
    app = build(Journal(options.record), options.database, options.long_seconds)
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
