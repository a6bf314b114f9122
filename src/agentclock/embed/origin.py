"""Which run a request belongs to, for code of the host: an agent's tools, tasks that a request leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from starlette.types import Scope

_SCHEDULE_HEADER: Final = b"x-agentclock-schedule"
_RUN_HEADER: Final = b"x-agentclock-run"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOrigin:
    """The run that the present request was made for, in this process or another one."""

    schedule_id: str
    run_id: str


_origin: Final[ContextVar[RunOrigin | None]] = ContextVar("agentclock_origin", default=None)


def current_origin() -> RunOrigin | None:
    """None: nobody's schedule is behind the present request, as far as its headers tell."""
    return _origin.get()


@contextmanager
def originating_in(origin: RunOrigin | None) -> Iterator[None]:
    """Within the block, and in tasks made there, `origin` is the current one; None leaves it as it is."""
    if origin is None:
        yield
        return
    token = _origin.set(origin)
    try:
        yield
    finally:
        _origin.reset(token)


def origin_of(scope: Scope) -> RunOrigin | None:
    schedule_id = run_id = None
    for name, value in scope["headers"]:
        if name == _SCHEDULE_HEADER:
            schedule_id = value.decode("latin-1")
        elif name == _RUN_HEADER:
            run_id = value.decode("latin-1")
    return RunOrigin(schedule_id=schedule_id, run_id=run_id) if schedule_id and run_id else None
