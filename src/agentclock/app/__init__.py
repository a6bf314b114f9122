"""The composition root: the only package that names the concrete classes together."""

from agentclock.app.assembly import assemble
from agentclock.app.clockwork import Clockwork
from agentclock.app.databases import is_postgres, is_there, make_store, sqlite_path
from agentclock.app.desks import target_desk
from agentclock.app.server import create_app, create_status_app

__all__ = [
    "Clockwork",
    "assemble",
    "create_app",
    "create_status_app",
    "is_postgres",
    "is_there",
    "make_store",
    "sqlite_path",
    "target_desk",
]
