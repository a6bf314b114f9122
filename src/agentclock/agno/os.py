"""AgentOS with agentclock for its scheduler: change the import, keep the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import agno.os

from agentclock.agno.guard_rails import GuardRails
from agentclock.agno.hosting import embedded_settings, take_over
from agentclock.config import Settings
from agentclock.core.errors import ConfigError


class AgentOS(agno.os.AgentOS):
    """agno's AgentOS, which takes all that agno's takes. A few parameters mean more, or are new:

    `scheduler`: True or False as with agno's; a mapping of agentclock's settings, or a `Settings`, turns it on too.
    `enable_scheduler`: the older word for the same switch.
    `scheduler_poll_interval`: seconds. Nothing waits for it: it is how long a worker sleeps at most when nothing
    seems due.
    `scheduler_base_url`: needed no more, since agents are called in process. Its scheme and host are what the app sees
    as its own in these calls.
    `guard_rails`: what agents may schedule by themselves, through agno's `SchedulerTools` on the same database object.

    With the scheduler off everything is agno's, untouched. Raises ConfigError.
    """

    def __init__(
        self,
        *args: Any,
        scheduler: bool | Mapping[str, Any] | Settings | None = None,
        enable_scheduler: bool | None = None,
        scheduler_poll_interval: float | None = None,
        scheduler_base_url: str | None = None,
        guard_rails: GuardRails | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        if not _is_on(scheduler, enable_scheduler):
            return
        settings = embedded_settings(
            {} if scheduler is None or isinstance(scheduler, bool) else scheduler,
            db=self.db,
            base_url=scheduler_base_url,
            poll_seconds=scheduler_poll_interval,
        )
        take_over(self, settings, rails=guard_rails)


def _is_on(scheduler: bool | Mapping[str, Any] | Settings | None, enable_scheduler: bool | None) -> bool:
    if enable_scheduler is None:
        return scheduler is not None and scheduler is not False
    if isinstance(scheduler, bool) and scheduler is not enable_scheduler:
        raise ConfigError([f"enable_scheduler={enable_scheduler} and scheduler={scheduler} contradict each other"])
    return enable_scheduler
