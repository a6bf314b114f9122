"""AgentOS with agentclock for its scheduler: change the import, keep the rest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import agno.os
from fastapi import FastAPI

from agentclock.agno.hosting import embedded_settings, take_over
from agentclock.config import Settings
from agentclock.core.errors import ConfigError


class AgentOS(agno.os.AgentOS):
    """agno's AgentOS, which takes all that agno's takes. Four parameters mean more, or are new:

    `scheduler`: True or False as with agno's; a mapping of agentclock's settings, or a `Settings`, turns it on too.
    `enable_scheduler`: the older word for the same switch.
    `scheduler_poll_interval`: seconds. Nothing waits for it: it is how long a worker sleeps at most when nothing
    seems due.
    `scheduler_base_url`: needed no more, since agents are called in process. Its scheme and host are what the app sees
    as its own in these calls.

    With the scheduler off everything is agno's, untouched. Raises ConfigError.
    """

    def __init__(
        self,
        *args: Any,
        scheduler: bool | Mapping[str, Any] | Settings | None = None,
        enable_scheduler: bool | None = None,
        scheduler_poll_interval: float | None = None,
        scheduler_base_url: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._shutdown_grace_seconds: float | None = None
        if not _is_on(scheduler, enable_scheduler):
            return
        settings = embedded_settings(
            {} if scheduler is None or isinstance(scheduler, bool) else scheduler,
            db=self.db,
            base_url=scheduler_base_url,
            poll_seconds=scheduler_poll_interval,
        )
        take_over(self, settings)
        self._shutdown_grace_seconds = settings.shutdown_grace_seconds

    def serve(self, app: str | FastAPI, **options: Any) -> None:  # type: ignore[override]
        """As agno's. A stop waits for open requests as long as for runs, where agno's waits for ever: event streams
        stay open as long as somebody watches."""
        if self._shutdown_grace_seconds is not None:
            options.setdefault("timeout_graceful_shutdown", math.ceil(self._shutdown_grace_seconds))
        super().serve(app, **options)


def _is_on(scheduler: bool | Mapping[str, Any] | Settings | None, enable_scheduler: bool | None) -> bool:
    if enable_scheduler is None:
        return scheduler is not None and scheduler is not False
    if isinstance(scheduler, bool) and scheduler is not enable_scheduler:
        raise ConfigError([f"enable_scheduler={enable_scheduler} and scheduler={scheduler} contradict each other"])
    return enable_scheduler
