"""The executor with a stopwatch: how long targets take to answer, and how."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from agentclock.core.model import Claim, Outcome, OutcomeKind
from agentclock.core.origins import is_absolute
from agentclock.ports import Executor, RunContext
from agentclock.telemetry import definitions as metric
from agentclock.telemetry.metrics import Metrics
from agentclock.telemetry.places import OTHER


class Witness(Protocol):
    """Sees what a worker does under one claim: whether it is traced, and how it went."""

    def is_sampled(self, claim: Claim) -> bool: ...

    def answered(self, claim: Claim, outcome: Outcome | None, seconds: float) -> None:
        """`outcome` None: it was interrupted."""


class ObservedExecutor:
    """Implements `ports.Executor` by way of another one. `targets`: the names of those that have a label of their own;
    a schedule may name another one, of older settings, or none, with a URL in full. `witness` None: nobody traces."""

    def __init__(
        self,
        inner: Executor,
        metrics: Metrics,
        *,
        targets: Collection[str],
        monotonic: Callable[[], float],
        witness: Witness | None = None,
    ) -> None:
        self._inner = inner
        self._targets = frozenset(targets)
        self._metrics = metrics
        self._monotonic = monotonic
        self._witness = witness

    async def execute(self, context: RunContext) -> Outcome:
        if self._witness is not None:
            context.is_sampled = self._witness.is_sampled(context.claim)
        begun, outcome = self._monotonic(), None
        try:
            outcome = await self._inner.execute(context)
            return outcome
        finally:
            self._answered(context.claim, outcome, self._monotonic() - begun)

    def _answered(self, claim: Claim, outcome: Outcome | None, seconds: float) -> None:
        called = claim.schedule.target
        target = called.name if called.name in self._targets and not is_absolute(called.endpoint) else OTHER
        if outcome is not None:
            self._metrics.count(metric.TARGET_ENDS, target, outcome.kind.value)
            if outcome.kind is not OutcomeKind.REFUSED:
                self._metrics.observe(metric.TARGET_TIME, seconds, target)
        if self._witness is not None:
            self._witness.answered(claim, outcome, seconds)

    def can_attach(self, claim: Claim) -> bool:
        return self._inner.can_attach(claim)

    async def has_moved_on(self, claim: Claim) -> bool:
        return await self._inner.has_moved_on(claim)

    async def close(self) -> None:
        await self._inner.close()
