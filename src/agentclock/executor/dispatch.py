"""The executor that the engine is given: finds the target by name and how to speak to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from agentclock.core.errors import ConfigError, LeaseLost
from agentclock.core.model import Outcome, OutcomeKind
from agentclock.executor.agentos import AgentOSExecutor, Patience
from agentclock.executor.http import HttpExecutor
from agentclock.executor.outcomes import Blotter
from agentclock.executor.targets import TargetLike, TargetSettings
from agentclock.executor.transport import ConnectionBroken, NotConnected, NotHttp, Request, Transport
from agentclock.ports import RunContext

PROBE_TIMEOUT_SECONDS: Final = 5


class TargetExecutor:
    """Implements `ports.Executor` for the targets of the configuration. Raises ConfigError if they are unusable.

    `connection_limit` bounds the open connections to all targets together: a live agent run holds one. Of an
    answer `response_cap_bytes` are kept.
    """

    def __init__(
        self,
        targets: Mapping[str, TargetLike],
        *,
        connection_limit: int = 2000,
        response_cap_bytes: int = 256 * 1024,
        patience: Patience | None = None,
    ) -> None:
        self._targets = {name: TargetSettings.named(name, target) for name, target in targets.items()}
        if problems := [problem for target in self._targets.values() for problem in target.problems()]:
            raise ConfigError(problems)
        self._transport = Transport(connection_limit=connection_limit)
        self._questions = Transport(connection_limit=connection_limit)
        self._http = HttpExecutor(self._transport, response_cap_bytes=response_cap_bytes)
        self._agentos = AgentOSExecutor(
            self._transport, self._questions, response_cap_bytes=response_cap_bytes, patience=patience
        )

    async def execute(self, context: RunContext) -> Outcome:
        """Raises LeaseLost when `context` says that the run belongs to somebody else by now, else nothing."""
        called = context.claim.schedule.target
        target = self._targets.get(called.name)
        if target is None:
            return Outcome(kind=OutcomeKind.FAILED, error=self._not_configured(called.name))
        try:
            if called.component is not None and target.kind == "agentos":
                return await self._agentos.execute(target, called.component[0], context)
            return await self._http.execute(target, context)
        except LeaseLost:
            raise
        except Exception as error:
            structlog.get_logger("agentclock.executor").exception("executor_failed", run=context.claim.run.id)
            text = f"agentclock could not make the request: {type(error).__name__}: {error}"
            return Outcome(kind=OutcomeKind.FAILED, error=Blotter.for_headers(target.headers).error(text))

    async def reachable(self, name: str) -> str | None:
        """Whether the target answers HTTP at all, whatever its status: None, or what is in the way."""
        target = self._targets.get(name)
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

    def _not_configured(self, name: str) -> str:
        known = ", ".join(sorted(self._targets)) or "none"
        return f"target '{name}' is not configured; known targets: {known}"
