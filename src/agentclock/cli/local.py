"""The API in this process, on a database: no port, no engine, no token. Whoever can open the database may do
everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from yarl import URL

from agentclock.api import Caller, Permission
from agentclock.app import Clockwork, assemble, create_app, is_there
from agentclock.cli.client import Call, Client, ExitCode, Trouble, Unreachable
from agentclock.cli.options import load_settings
from agentclock.config import Settings
from agentclock.core.errors import AgentclockError, ConfigError
from agentclock.core.model import Target
from agentclock.executor.asgi import AsgiTransport
from agentclock.executor.targets import IN_PROCESS_URL, TargetSettings
from agentclock.executor.transport import Answer, ConnectionBroken, NotConnected
from agentclock.executor.transport import Request as Outgoing
from agentclock.logs import join_host_logging

#: Whoever asks is one person: nobody is to be kept from asking often, nobody has to be told apart.
_FOR_ONE_PERSON: Final[Mapping[str, Any]] = {
    "allow_anyone": True,
    "auto_migrate": False,
    "otel": False,
    "pool_size": 2,
    "requests_per_second": 0,
}


class LocalGuard:
    """Records name the command line."""

    async def admit(self, request: Request, permission: Permission) -> Caller:
        return Caller(name="cli")

    async def may_call(self, request: Request, target: Target) -> None:
        """Whoever can open the database may."""


class LocalTransport:
    def __init__(self, transport: AsgiTransport, target: TargetSettings) -> None:
        self._transport = transport
        self._target = target

    @asynccontextmanager
    async def send(self, call: Call) -> AsyncIterator[_LocalAnswer]:
        url = URL(IN_PROCESS_URL + call.path, encoded=True)
        request = Outgoing(method=call.method, url=url, headers=call.headers, body=call.body)
        try:
            async with self._transport.send(self._target, request) as answer:
                yield _LocalAnswer(answer)
        except (NotConnected, ConnectionBroken) as error:
            raise Unreachable(str(error)) from None


class _LocalAnswer:
    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        self.headers: Mapping[str, str] = answer.headers
        self._answer = answer

    async def piece(self) -> bytes:
        return await self._answer.piece()


@asynccontextmanager
async def on_database(database: str | None, config_file: Path | None) -> AsyncIterator[Client]:
    """Opens `database`, or that of the settings; starts no engine and upgrades no schema. Raises Trouble."""
    settings = load_settings(config_file, database=database, **_FOR_ONE_PERSON)
    if not await asyncio.to_thread(is_there, settings.database):
        raise Trouble(f"database: {settings.database} does not exist: see --database", ExitCode.USAGE)
    join_host_logging("error")
    async with _opened(settings) as clockwork:
        transport = AsgiTransport(create_app(clockwork, guard=LocalGuard()), parting_seconds=1.0)
        transport.open()
        try:
            target = TargetSettings(name="agentclock", in_process=True)
            yield Client(LocalTransport(transport, target), where="the database")
        finally:
            await clockwork.hub.close()
            await transport.close()


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Clockwork]:
    try:
        clockwork = assemble(settings)
        await clockwork.store.open()
    except ConfigError as error:
        raise Trouble("\n".join(error.problems), ExitCode.USAGE) from None
    except AgentclockError as error:
        raise Trouble(f"the database cannot be opened: {error}", ExitCode.UNAVAILABLE) from None
    try:
        clockwork.hub.open()
        # There is no engine here to be woken; streams are to hear what engines elsewhere do.
        await clockwork.wakeup.start(lambda: None, clockwork.hub.hear)
        yield clockwork
    finally:
        await clockwork.wakeup.close()
        await clockwork.executor.close()
        await clockwork.webhooks.close()
        await clockwork.telemetry.close()
        await clockwork.store.close()
