"""What happens, as it happens: streams of one run's events, and of the changes of all runs and schedules."""

from agentclock.live.hub import Hub
from agentclock.live.items import (
    Change,
    Changes,
    Cut,
    FeedItem,
    Gone,
    Item,
    Label,
    Logged,
    Over,
    Pulse,
    Reset,
    State,
    Trouble,
)

__all__ = [
    "Change",
    "Changes",
    "Cut",
    "FeedItem",
    "Gone",
    "Hub",
    "Item",
    "Label",
    "Logged",
    "Over",
    "Pulse",
    "Reset",
    "State",
    "Trouble",
]
