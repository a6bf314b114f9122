"""What belongs to agno. `AgentOS` is agno's with agentclock as its scheduler; `attach` gives one that exists the same.

Needs the extra `agno`; `attach` does without as long as it is given an app that is not agno's.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from agentclock.agno.attaching import attach
    from agentclock.agno.os import AgentOS

__all__ = ["AgentOS", "attach"]

_HOMES: Final = {"AgentOS": "agentclock.agno.os", "attach": "agentclock.agno.attaching"}


def __getattr__(name: str) -> Any:
    """Imports agno no sooner than somebody asks for what is made of it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
