"""Living inside another ASGI app: started and stopped with it, its endpoints called directly."""

from agentclock.embed.attaching import attach, embed
from agentclock.embed.origin import RunOrigin, current_origin

__all__ = ["RunOrigin", "attach", "current_origin", "embed"]
