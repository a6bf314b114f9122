"""What schedules may have called, as far as the configuration says: names of targets, origins, secrets, for whom."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from agentclock.core.errors import Forbidden, InvalidField
from agentclock.core.model import Schedule
from agentclock.core.origins import is_absolute, origin_fault, read_origin
from agentclock.core.owners import foreign_call
from agentclock.core.references import forbidden_secrets


class CallRules:
    """`targets`: the names of the configured base URLs; `origins`: those that endpoints may name in full; `secrets`:
    those that payloads of schedules with an owner may name, by target."""

    def __init__(
        self, targets: Collection[str], *, origins: Collection[str], secrets: Mapping[str, Collection[str]]
    ) -> None:
        self.targets = targets
        self._origins = frozenset(str(read_origin(origin)) for origin in origins)
        self._secrets = secrets

    def check_place(self, schedule: Schedule) -> None:
        """Raises InvalidField."""
        called = schedule.target
        if called.name not in self.targets:
            known = ", ".join(sorted(self.targets))
            raise InvalidField("target", f"unknown target {called.name!r}: known are {known}")
        if fault := origin_fault(called.endpoint, self._origins):
            raise InvalidField("endpoint", fault)

    def check_words(self, schedule: Schedule) -> None:
        """It speaks for its owner and nobody else, and names no secrets that are not for it. Raises Forbidden."""
        if fault := foreign_call(schedule.target, schedule.user_id):
            raise Forbidden(fault)
        called = schedule.target
        allowed = () if is_absolute(called.endpoint) else self._secrets.get(called.name, ())
        if fault := forbidden_secrets(called.payload, schedule.user_id, allowed):
            raise Forbidden(fault)
