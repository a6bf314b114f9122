"""What the program says of itself while it is simulated: a fault of its own is a violation, however it is borne."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import structlog

if TYPE_CHECKING:
    from tests.simulation.world import World

#: Errors that the simulated faults bring about: a stop that the database did not let come to its end.
EXPECTED: Final = frozenset({"run_not_settled"})


@contextmanager
def listening(world: World) -> Iterator[None]:
    def hear(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if method in ("error", "exception", "critical") and event["event"] not in EXPECTED and not world.is_muted:
            world.violate(f"the program logged {dict(event)}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[structlog.processors.format_exc_info, hear], cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**before)
