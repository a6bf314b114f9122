"""Whether the server around us wants to exit.

uvicorn waits for open connections before it tells the application about the stop, so that streams would keep it until
their viewers leave. Its wish is known earlier: the object whose method handles SIGTERM says it.
"""

from __future__ import annotations

import signal


def server_wants_exit() -> bool:
    """Only looks. False where another server, or none that handles signals, is around us."""
    handler = signal.getsignal(signal.SIGTERM)
    return getattr(getattr(handler, "__self__", None), "should_exit", False) is True
