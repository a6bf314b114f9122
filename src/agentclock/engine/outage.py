"""What one process knows of a database that is away: one beginning and one end, whoever notices it."""

from __future__ import annotations

from agentclock.core.errors import StoreUnavailable
from agentclock.core.events import EngineRecovered, EngineTrouble
from agentclock.engine.bus import Bus
from agentclock.ports import Clock


class Outage:
    """It begins with the first part that fails and is over when all that failed have succeeded again."""

    def __init__(self, clock: Clock, bus: Bus) -> None:
        self._clock = clock
        self._bus = bus
        self._errors: dict[str, str] = {}
        self._began = 0.0
        self._ended = float("-inf")

    @property
    def error(self) -> str | None:
        """What is wrong, as the part says that failed last; None if nothing is."""
        return next(reversed(self._errors.values()), None)

    def ended_within(self, seconds: float) -> bool:
        """Whether it goes on, or was over only so long ago."""
        return bool(self._errors) or self._clock.monotonic() - self._ended < seconds

    def failed(self, part: str, error: Exception, retry_in_seconds: float) -> None:
        is_new = not self._errors
        if is_new:
            self._began = self._clock.monotonic()
        self._errors.pop(part, None)
        self._errors[part] = f"{part}: {error}"
        self._bus.publish(
            EngineTrouble(
                loop=part,
                error=str(error),
                retry_in_seconds=retry_in_seconds,
                is_outage=isinstance(error, StoreUnavailable),
                is_new=is_new,
            )
        )

    def succeeded(self, part: str) -> None:
        if self._errors.pop(part, None) is not None and not self._errors:
            self._ended = self._clock.monotonic()
            self._bus.publish(EngineRecovered(after_seconds=self._ended - self._began))
