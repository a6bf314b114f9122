"""The executor that the engine is given: finds the target by name and how to speak to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final

import structlog
from starlette.types import ASGIApp

from agentclock.core.errors import ConfigError, LeaseLost
from agentclock.core.model import Claim, Outcome, OutcomeKind, Target
from agentclock.executor.agentos import AgentOSExecutor, Patience
from agentclock.executor.asgi import AsgiTransport
from agentclock.executor.http import HttpExecutor
from agentclock.executor.outcomes import Blotter
from agentclock.executor.targets import TargetLike, TargetSettings
from agentclock.executor.transport import (
    Answer,
    ConnectionBroken,
    HttpTransport,
    NotConnected,
    NotHttp,
    Request,
    Transport,
)
from agentclock.ports import RunContext

PROBE_TIMEOUT_SECONDS: Final = 5


class TargetExecutor:
    """Implements `ports.Executor` for the targets of the configuration. Raises ConfigError if they are unusable.

    `app` is what targets in this process are served by (see `host`); they are sent `token()` as bearer token, and
    nobody else is. `connection_limit` bounds the open connections to all other targets together: a live agent run
    holds one. Of an answer `response_cap_bytes` are kept.
    """

    def __init__(
        self,
        targets: Mapping[str, TargetLike],
        *,
        app: ASGIApp | None = None,
        token: Callable[[], str | None] | None = None,
        connection_limit: int = 2000,
        response_cap_bytes: int = 256 * 1024,
        patience: Patience | None = None,
    ) -> None:
        self._targets = {name: TargetSettings.named(name, target) for name, target in targets.items()}
        #: The way to the app that hosts us; whoever starts us opens it once the app is ready.
        self.host = None if app is None else AsgiTransport(app)
        self._token = token
        if problems := self._problems():
            raise ConfigError(problems)
        self._transport = _ByTarget(HttpTransport(connection_limit=connection_limit), self.host)
        self._questions = _ByTarget(HttpTransport(connection_limit=connection_limit), self.host)
        self._http = HttpExecutor(self._transport, response_cap_bytes=response_cap_bytes)
        self._agentos = AgentOSExecutor(
            self._transport, self._questions, response_cap_bytes=response_cap_bytes, patience=patience
        )

    async def execute(self, context: RunContext) -> Outcome:
        """Raises LeaseLost when `context` says that the run belongs to somebody else by now, else nothing."""
        called = context.claim.schedule.target
        headers: Mapping[str, str] = {}
        try:
            target = self._target(called.name)
            if target is None:
                return Outcome(kind=OutcomeKind.FAILED, error=self._not_configured(called.name))
            headers = target.headers
            if _is_agent_run(called, target) and called.component is not None:
                return await self._agentos.execute(target, called.component[0], context)
            return await self._http.execute(target, context)
        except LeaseLost:
            raise
        except Exception as error:
            structlog.get_logger("agentclock.executor").exception("executor_failed")
            text = f"agentclock could not make the request: {type(error).__name__}: {error}"
            return Outcome(kind=OutcomeKind.FAILED, error=Blotter.for_headers(headers).error(text))

    def can_attach(self, claim: Claim) -> bool:
        called = claim.schedule.target
        target = self._targets.get(called.name)
        return target is not None and _is_agent_run(called, target) and self._agentos.can_attach(target, claim)

    async def has_moved_on(self, claim: Claim) -> bool:
        """Never raises: who cannot be asked has not moved on."""
        called = claim.schedule.target
        try:
            target = self._target(called.name)
            if target is None or not _is_agent_run(called, target):
                return False
            return await self._agentos.has_moved_on(target, claim)
        except Exception as error:
            log = structlog.get_logger("agentclock.executor")
            log.warning("review_failed", error=type(error).__name__)
            return False

    async def reachable(self, name: str) -> str | None:
        """Whether the target answers HTTP at all, whatever its status: None, or what is in the way."""
        target = self._target(name)
        if target is None:
            return self._not_configured(name)
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                request = Request(method="GET", url=target.url_for("/"))
                async with self._transport.send(target, request):
                    return None
        except TimeoutError:
            return f"no answer within {PROBE_TIMEOUT_SECONDS} s"
        except (NotConnected, ConnectionBroken) as error:
            return str(error)
        except NotHttp as error:
            return f"does not answer in HTTP: {error}"

    async def close(self) -> None:
        await self._transport.close()
        await self._questions.close()
        if self.host is not None:
            await self.host.close()

    def _target(self, name: str) -> TargetSettings | None:
        """With the headers as they are now: whoever hides secrets finds all of them there."""
        target = self._targets.get(name)
        if target is None or not target.in_process or self._token is None:
            return target
        return target.bearing(self._token())

    def _problems(self) -> list[str]:
        problems = [problem for target in self._targets.values() for problem in target.problems()]
        if self.host is None:
            problems += [
                f"target '{name}': in_process needs an app that hosts agentclock; give it a base URL instead"
                for name, target in self._targets.items()
                if target.in_process
            ]
        return problems

    def _not_configured(self, name: str) -> str:
        known = ", ".join(sorted(self._targets)) or "none"
        return f"target '{name}' is not configured; known targets: {known}"


class _ByTarget:
    """A transport that knows two ways. `inside` is shared, and closed by its owner."""

    def __init__(self, outside: HttpTransport, inside: AsgiTransport | None) -> None:
        self._outside = outside
        self._inside = inside

    def send(self, target: TargetSettings, request: Request) -> AbstractAsyncContextManager[Answer]:
        way: Transport = self._inside if target.in_process and self._inside is not None else self._outside
        return way.send(target, request)

    async def close(self) -> None:
        await self._outside.close()


def _is_agent_run(called: Target, target: TargetSettings) -> bool:
    return called.component is not None and target.kind == "agentos"
