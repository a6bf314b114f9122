"""How a process tells others how it is: metrics, pings of dead man's switches, traces."""

from agentclock.telemetry.station import Telemetry

__all__ = ["Telemetry"]
