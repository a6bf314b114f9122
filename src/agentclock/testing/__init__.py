"""Test doubles that ship with the package: a clock that stands still, an executor with a script, an AgentOS
that answers as it is told.

    clock = FakeClock()
    clock.advance(seconds=60)           # sleepers whose time has come wake up

    executor = ScriptedExecutor([Outcome(kind=OutcomeKind.FAILED, retryable=True), SUCCESS])
    executor.hold()                     # attempts stay open ...
    await executor.started(1)
    executor.release()                  # ... until now

    async with FakeAgentOS() as fake:   # on a free port of the loopback interface
        fake.behave("greeter", Behaviour.SERVER_ERROR, Behaviour.OK)
        ...                             # point a target at fake.base_url
"""

from __future__ import annotations

from agentclock.testing.doubles import SUCCESS, Answer, FakeClock, Script, ScriptedExecutor
from agentclock.testing.fake_agentos import FakeAgentOS, FakeCall, Hindrance
from agentclock.testing.fake_runs import Behaviour, FakeRun

__all__ = [
    "SUCCESS",
    "Answer",
    "Behaviour",
    "FakeAgentOS",
    "FakeCall",
    "FakeClock",
    "FakeRun",
    "Hindrance",
    "Script",
    "ScriptedExecutor",
]
