"""All requests about one agent run: where they go, how many a second there may be, and what the answers say."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import structlog
from yarl import URL

from agentclock.core.model import Json, Outcome
from agentclock.executor import agno_wire as wire
from agentclock.executor.outcomes import error_detail, parse_json
from agentclock.executor.secrecy import Secrecy
from agentclock.executor.targets import TargetSettings
from agentclock.executor.transport import ConnectionBroken, NotConnected, NotHttp, Request, Transport

#: A stored run carries all its messages; beyond this its state cannot be read.
STATUS_LIMIT_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often AgentOS is asked and how long it is waited for, all in seconds.

    `gap`: between two requests about one run, whatever AgentOS answers. Pauses between rounds of questions double
    from `first_pause` to `longest_pause`; one question may take `answer`. `unknown`: how long a run may be unknown to
    AgentOS. `lost` (`lost_in_process`, when the agent would live in this process): how long a run may give no sign of
    life. `confirm`: how long a cancelled run may take to stop (`parting`, when this process is about to end).
    `idle`: silence on a stream after which it is given up for a new one. `drain`: how long AgentOS may tidy up after
    a run's last event.
    """

    gap: float = 0.55
    first_pause: float = 0.2
    longest_pause: float = 10.0
    unknown: float = 30.0
    lost: float = 120.0
    lost_in_process: float = 10.0
    answer: float = 15.0
    confirm: float = 10.0
    parting: float = 3.0
    idle: float = 60.0
    drain: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Answer to one question for a run's state. `code` None: there was no usable answer; `is_connected` False: there
    was not even a connection. `outcome` None: the run goes on, or nobody knows. `trace` changes with what the answer
    said."""

    code: int | None = None
    is_connected: bool = True
    outcome: Outcome | None = None
    trouble: str | None = None
    trace: int | None = None


class Questions:
    """What is asked and said about one agent run. `run_id` and `session_id` change if AgentOS gives it others.

    `trouble`: the last thing that went wrong on the way.
    """

    def __init__(
        self,
        transport: Transport,
        target: TargetSettings,
        patience: Patience,
        url: URL,
        headers: Mapping[str, str],
        secrecy: Secrecy,
    ) -> None:
        self._transport = transport
        self._secrecy = secrecy
        self._target = target
        self._patience = patience
        self._url = url
        self._headers = {name: value for name, value in headers.items() if name != "Idempotency-Key"}
        self._log = structlog.get_logger("agentclock.executor").bind(target=target.name)
        self._next_at = 0.0
        self.run_id = ""
        self.session_id = ""
        self.trouble: str | None = None

    async def take_turn(self) -> None:
        """Waits until the next request about this run may be sent."""
        now = asyncio.get_running_loop().time()
        wait = self._next_at - now
        self._next_at = max(now, self._next_at) + self._patience.gap
        if wait > 0:
            await asyncio.sleep(wait)

    async def state(self) -> State:
        """One question for the run's state. Never raises for what AgentOS does."""
        url = self._part("").update_query(session_id=self.session_id)
        await self.take_turn()
        try:
            async with (
                asyncio.timeout(self._patience.answer),
                self._transport.send(self._target, self._request("GET", url)) as answer,
            ):
                text, cut = await answer.text(STATUS_LIMIT_BYTES)
        except TimeoutError:
            return self._no_state(f"asked for its state, AgentOS said nothing for {self._patience.answer:g} s")
        except NotConnected as error:
            return self._no_state(str(error), is_connected=False)
        except (ConnectionBroken, NotHttp) as error:
            return self._no_state(str(error))
        if not 200 <= answer.status < 300:
            trouble = f"asked for its state, AgentOS said HTTP {answer.status} {error_detail(text)}"
            return self._no_state(trouble, code=answer.status)
        data = json_object(text)
        if not data:
            return self._no_state(
                "the state of the run is too big to be read" if cut else "the state of the run is no JSON object"
            )
        return State(code=answer.status, outcome=wire.outcome_of_status(data), trace=hash(text))

    async def cancel(self) -> str | None:
        """Tells AgentOS to stop the run; answers what was in the way. Never raises for what AgentOS does."""
        url = self._part("/cancel").update_query(session_id=self.session_id)
        await self.take_turn()
        try:
            async with (
                asyncio.timeout(self._patience.answer),
                self._transport.send(self._target, self._request("POST", url)) as answer,
            ):
                if answer.status < 300:
                    return None
                event, trouble = "cancel_refused", f"asked to cancel, AgentOS said HTTP {answer.status}"
        except TimeoutError:
            event, trouble = "cancel_failed", f"asked to cancel, AgentOS said nothing for {self._patience.answer:g} s"
        except (NotConnected, ConnectionBroken, NotHttp) as error:
            event, trouble = "cancel_failed", str(error)
        self.went_wrong(event, trouble)
        return trouble

    def resume(self, last_index: int | None) -> Request:
        """For the stream of what came after event number `last_index`."""
        form = {"session_id": self.session_id}
        if last_index is not None:
            form["last_event_index"] = str(last_index)
        return self._request("POST", self._part("/resume"), form)

    def proceed(self, form: Mapping[str, str]) -> Request:
        """Lets a paused run go on."""
        return self._request("POST", self._part("/continue"), form)

    def went_wrong(self, event: str, trouble: str) -> None:
        """Remembered for the outcome, and said in the log: the run itself may still end well."""
        self.trouble = trouble
        self._log.warning(event, trouble=self._secrecy.blotter.error(trouble), agent_run=self.run_id)

    def _no_state(self, trouble: str, *, code: int | None = None, is_connected: bool = True) -> State:
        self.trouble = trouble
        return State(code=code, is_connected=is_connected, trouble=trouble)

    def _part(self, suffix: str) -> URL:
        path = f"{self._url.raw_path.rstrip('/')}/{quote(self.run_id, safe='')}{suffix}"
        return self._url.with_path(path, encoded=True)

    def _request(self, method: str, url: URL, form: Mapping[str, str] | None = None) -> Request:
        return Request(method=method, url=url, headers=self._headers, form=form)


def json_object(text: str) -> dict[str, Json]:
    """The JSON object that `text` is, or an empty one."""
    try:
        value = parse_json(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
