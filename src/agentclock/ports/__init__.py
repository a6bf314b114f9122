"""All that the engine and the use cases need from the world. Every port has at least two real implementations."""

from agentclock.ports.execution import Executor, RunContext, Said
from agentclock.ports.records import (
    Accounting,
    Beat,
    ChangeFunction,
    Claimed,
    EventBatch,
    EventCursor,
    Fired,
    ForeignRun,
    LoggedEvent,
    Page,
    PageRequest,
    PlanFunction,
    RunFilter,
    ScheduleFilter,
    StoreHealth,
    UsageTotal,
    WorkerInfo,
    WorkerRow,
)
from agentclock.ports.store import Store
from agentclock.ports.world import Clock, News, Wakeup

__all__ = [
    "Accounting",
    "Beat",
    "ChangeFunction",
    "Claimed",
    "Clock",
    "EventBatch",
    "EventCursor",
    "Executor",
    "Fired",
    "ForeignRun",
    "LoggedEvent",
    "News",
    "Page",
    "PageRequest",
    "PlanFunction",
    "RunContext",
    "RunFilter",
    "Said",
    "ScheduleFilter",
    "Store",
    "StoreHealth",
    "UsageTotal",
    "Wakeup",
    "WorkerInfo",
    "WorkerRow",
]
