"""Giving schedules to what exists already: an AgentOS, its app, or an app that has nothing to do with agno."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from starlette.applications import Starlette

from agentclock import embed
from agentclock.agno.databases import database_for

if TYPE_CHECKING:
    from agno.os import AgentOS

    from agentclock.agno.guard_rails import GuardRails

HostT = TypeVar("HostT", bound="AgentOS | Starlette")


def attach(host: HostT, db: object = None, *, guard_rails: GuardRails | None = None, **settings: Any) -> HostT:
    """Lets agentclock be the scheduler of `host`, and answers `host`.

    `host` is an AgentOS whose app is not made yet, the app that `get_app()` made, or any FastAPI or Starlette app,
    whose own endpoints may be scheduled then. `db` is the app's database: an agno database object, a URL or a path;
    an AgentOS has its own. agentclock keeps its tables beside it, in a schema or a file of their own (`database=` names
    another place). `guard_rails`: what agents of an AgentOS may schedule by themselves. `settings` are agentclock's, as
    in `agentclock.config.Settings`. Attaching again with the same settings changes nothing. Raises ConfigError.

    An AgentOS gets its own scheduler switched off. An app that was made with it on keeps it, which a warning says at
    the start: agno's scheduler goes on with the schedules in agno's tables, which no route shows any more.
    """
    if _is_agent_os(host):
        from agentclock.agno.hosting import embedded_settings, take_over  # noqa: PLC0415 - imports agno

        agent_os: Any = host
        take_over(agent_os, embedded_settings(settings, db=agent_os.db if db is None else db), rails=guard_rails)
    elif isinstance(host, Starlette) and hasattr(host.state, "agent_os_id"):
        from agentclock.agno.hosting import embedded_settings, install, serve_tools  # noqa: PLC0415

        serve_tools(db, install(host, embedded_settings(settings, db=db), db=db), guard_rails)
    elif isinstance(host, Starlette):
        if db is not None:
            settings.setdefault("database", database_for(db))
        embed.attach(host, **settings)
    else:
        raise TypeError(f"attach takes an AgentOS, a FastAPI app or a Starlette app, not {type(host).__name__}")
    return host


def _is_agent_os(host: object) -> bool:
    return any(f"{kind.__module__}.{kind.__qualname__}" == "agno.os.app.AgentOS" for kind in type(host).__mro__)
