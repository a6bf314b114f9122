"""What the interface is told of the settings."""

from __future__ import annotations

from agentclock.api.targets import Target, TargetDesk
from agentclock.app.clockwork import Clockwork


def target_desk(clockwork: Clockwork) -> TargetDesk:
    targets = clockwork.settings.targets.items()
    return TargetDesk(
        targets=[Target(name=name, kind=str(target.kind), in_process=target.in_process) for name, target in targets],
        ask=clockwork.executor.components,
    )
