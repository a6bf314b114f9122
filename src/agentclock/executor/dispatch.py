"""The executor that the engine is given: finds the target by name and how to speak to it."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final

import structlog
from starlette.types import ASGIApp

from agentclock.core.errors import ConfigError, LeaseLost
from agentclock.core.model import Claim, Outcome, OutcomeKind, Target
from agentclock.core.origins import is_absolute, origin_fault, origin_of, read_origin
from agentclock.executor.agentos import AgentOSExecutor, Patience
from agentclock.executor.asgi import AsgiTransport
from agentclock.executor.components import KEEP_SECONDS, Remembered, components_of
from agentclock.executor.discretion import Discretion
from agentclock.executor.http import HttpExecutor
from agentclock.executor.secrecy import DiscreetTransport, Secrecy
from agentclock.executor.secrets import Secrets
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
from agentclock.ports import Components, RunContext

PROBE_TIMEOUT_SECONDS: Final = 5


class TargetExecutor:
    """Implements `ports.Executor` for the targets of the configuration. Raises ConfigError if they are unusable.

    `app` is what targets in this process are served by (see `host`); they are sent `token()` as bearer token, and
    nobody else is. Other AgentOS targets without credentials of their own are sent `service_token`.
    `origins`: those that endpoints may name in full. `networks`: what every target may connect to besides public
    addresses. `secrets`: where those are found that settings and payloads name; `discretion` learns which ones are
    sent. `connection_limit` bounds the open connections to all targets outside together: a live agent run holds
    one. Of an answer `response_cap_bytes` are kept.
    """

    def __init__(
        self,
        targets: Mapping[str, TargetLike],
        *,
        app: ASGIApp | None = None,
        token: Callable[[], str | None] | None = None,
        service_token: str | None = None,
        origins: Iterable[str] = (),
        networks: Iterable[str] = (),
        secrets: Secrets | None = None,
        discretion: Discretion | None = None,
        connection_limit: int = 2000,
        response_cap_bytes: int = 256 * 1024,
        patience: Patience | None = None,
    ) -> None:
        networks = tuple(networks)
        self._targets = {name: TargetSettings.named(name, target, networks) for name, target in targets.items()}
        self._origins = {str(one): TargetSettings.for_origin(one, networks) for one in map(read_origin, origins)}
        self._secrets = secrets or Secrets()
        self._discretion = discretion or Discretion()
        #: The way to the app that hosts us; whoever starts us opens it once the app is ready.
        self.host = None if app is None else AsgiTransport(app, hide=self._discretion.text)
        self._token = token
        self._service_token = service_token
        if problems := self._problems():
            raise ConfigError(problems)
        for unverified in (name for name, target in self._targets.items() if not target.tls.verify):
            structlog.get_logger("agentclock.executor").warning("tls_not_verified", target=unverified)
        self._transport = _ByTarget(self._outside(connection_limit), self.host)
        self._questions = _ByTarget(self._outside(connection_limit), self.host)
        self._components = Remembered(KEEP_SECONDS)
        self._http = HttpExecutor(self._transport, response_cap_bytes=response_cap_bytes)
        self._agentos = AgentOSExecutor(
            self._transport, self._questions, response_cap_bytes=response_cap_bytes, patience=patience
        )

    async def execute(self, context: RunContext) -> Outcome:
        """Raises LeaseLost when `context` says that the run belongs to somebody else by now, else nothing."""
        called, secrecy = context.claim.schedule.target, self._secrecy(context.claim)
        try:
            try:
                target = self._target(called)
            except ValueError as error:
                return Outcome(kind=OutcomeKind.FAILED, error=str(error))
            if _is_agent_run(called, target) and called.component is not None:
                return await self._agentos.execute(target, called.component[0], context, secrecy)
            return await self._http.execute(target, context, secrecy)
        except LeaseLost:
            raise
        except Exception as error:
            # Rendered here: pretty renderers of tracebacks show local variables, and those may hold secrets.
            trace = secrecy.blotter.text("".join(traceback.format_exception(error)))
            structlog.get_logger("agentclock.executor").error("executor_failed", exception=trace)
            text = f"agentclock could not make the request: {type(error).__name__}: {error}"
            return Outcome(kind=OutcomeKind.FAILED, error=secrecy.blotter.error(text))

    def can_attach(self, claim: Claim) -> bool:
        called = claim.schedule.target
        target = self._targets.get(called.name)
        return target is not None and _is_agent_run(called, target) and self._agentos.can_attach(target, claim)

    async def has_moved_on(self, claim: Claim) -> bool:
        """Never raises: who cannot be asked has not moved on."""
        called = claim.schedule.target
        try:
            target = self._target(called)
            if not _is_agent_run(called, target):
                return False
            return await self._agentos.has_moved_on(target, claim, self._secrecy(claim))
        except Exception as error:
            log = structlog.get_logger("agentclock.executor")
            log.warning("review_failed", error=type(error).__name__)
            return False

    async def reachable(self, name: str) -> str | None:
        """Whether the target answers HTTP at all, whatever its status: None, or what is in the way."""
        called = Target(name=name, endpoint="/")
        transport = DiscreetTransport(self._transport, Secrecy(self._secrets, self._discretion, called))
        try:
            target = self._target(called)
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                request = Request(method="GET", url=target.url_for("/"))
                async with transport.send(target, request):
                    return None
        except TimeoutError:
            return f"no answer within {PROBE_TIMEOUT_SECONDS} s"
        except (NotConnected, ConnectionBroken, ValueError) as error:
            return str(error)
        except NotHttp as error:
            return f"does not answer in HTTP: {error}"

    async def components(self, name: str) -> Components:
        """What the AgentOS behind this target has; asked again only after a while. Never raises."""
        return await self._components.of(name, self._ask_for_components)

    async def _ask_for_components(self, name: str) -> Components:
        secrecy = Secrecy(self._secrets, self._discretion, Target(name=name, endpoint="/"))
        try:
            target = self._target(Target(name=name, endpoint="/"))
            if target.kind != "agentos":
                return Components(trouble="it is no AgentOS: any path of it may be an endpoint")
            return await components_of(target, self._questions, secrecy)
        except ValueError as error:
            return Components(trouble=secrecy.blotter.error(str(error)))

    async def close(self) -> None:
        await self._transport.close()
        await self._questions.close()
        if self.host is not None:
            await self.host.close()

    def _target(self, called: Target) -> TargetSettings:
        """With the credentials that it is called with now. Raises ValueError."""
        if is_absolute(called.endpoint):
            return self._named_in_full(called.endpoint)
        target = self._targets.get(called.name)
        if target is None:
            known = ", ".join(sorted(self._targets)) or "none"
            raise ValueError(f"target '{called.name}' is not configured; known targets: {known}")
        if target.in_process:
            target = target.bearing(self._token() if self._token else None)
        elif target.kind == "agentos":
            target = target.bearing(self._service_token)
        return target

    def _secrecy(self, claim: Claim) -> Secrecy:
        return Secrecy(self._secrets, self._discretion, claim.schedule.target, claim.schedule.user_id)

    def _named_in_full(self, endpoint: str) -> TargetSettings:
        """Asked again at every request: the settings may be others than when the schedule was made."""
        if (fault := origin_fault(endpoint, self._origins)) is not None:
            raise ValueError(f"endpoint {endpoint!r} {fault}")
        return self._origins[str(origin_of(endpoint))]

    def _outside(self, connection_limit: int) -> HttpTransport:
        transport = HttpTransport(connection_limit=connection_limit)
        for target in self._targets.values():
            if not target.tls.is_usual:
                transport.prepare(target)
        return transport

    def _problems(self) -> list[str]:
        problems = [problem for target in self._targets.values() for problem in target.problems()]
        if self.host is None:
            problems += [
                f"target '{name}': in_process needs an app that hosts agentclock; give it a base URL instead"
                for name, target in self._targets.items()
                if target.in_process
            ]
        return problems


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
