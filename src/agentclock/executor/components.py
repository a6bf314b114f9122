"""What an AgentOS has that can be scheduled: its agents, teams and workflows, as it tells of them itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Final
from urllib.parse import quote

from agentclock import __version__
from agentclock.core.model import Json, TargetType
from agentclock.executor.outcomes import error_detail, parse_json
from agentclock.executor.secrecy import DiscreetTransport, Secrecy
from agentclock.executor.targets import TargetSettings
from agentclock.executor.transport import ConnectionBroken, NotConnected, NotHttp, Request, Transport
from agentclock.ports import Component, Components

ASK_SECONDS: Final = 10.0
#: A team is told of with all its tools and members.
ANSWER_BYTES: Final = 8 * 1024 * 1024
MOST_COMPONENTS: Final = 2_000
TEXT_CHARACTERS: Final = 300

#: How long an answer is good; one that tells of trouble is asked for again sooner.
KEEP_SECONDS: Final = 30.0
_KEEP_TROUBLE_SECONDS: Final = 5.0

_HEADERS: Final = {"User-Agent": f"agentclock/{__version__}", "Accept": "application/json"}


class Remembered:
    """The newest answer of each target, for `keep_seconds`. Who asks while somebody else does waits for that answer."""

    def __init__(self, keep_seconds: float) -> None:
        self._keep_seconds = keep_seconds
        self._answers: dict[str, tuple[asyncio.Task[Components], float]] = {}

    async def of(self, name: str, ask: Callable[[str], Coroutine[None, None, Components]]) -> Components:
        now = asyncio.get_running_loop().time()
        task, asked_at = self._answers.get(name, (None, 0.0))
        if task is None or self._is_stale(task, now - asked_at):
            task = asyncio.create_task(ask(name), name="agentclock-components")
            self._answers[name] = task, now
        # Whoever asked first may leave.
        return await asyncio.shield(task)

    def _is_stale(self, task: asyncio.Task[Components], age_seconds: float) -> bool:
        if not task.done():
            return False
        if task.cancelled() or task.exception() is not None:
            return True
        return age_seconds >= (self._keep_seconds if task.result().trouble is None else _KEEP_TROUBLE_SECONDS)


async def components_of(target: TargetSettings, transport: Transport, secrecy: Secrecy) -> Components:
    """All that can be had of them, and in words what cannot. Never raises for what AgentOS does."""
    asked = await asyncio.gather(*(_of_kind(kind, target, transport, secrecy) for kind in TargetType))
    found = [component for components, _ in asked for component in components]
    troubles = list(dict.fromkeys(trouble for _, trouble in asked if trouble is not None))
    if len(found) > MOST_COMPONENTS:
        troubles.append(f"only {MOST_COMPONENTS:,} of {len(found):,} are shown")
    return Components(found=tuple(found[:MOST_COMPONENTS]), trouble="; ".join(troubles) or None)


async def _of_kind(
    kind: TargetType, target: TargetSettings, transport: Transport, secrecy: Secrecy
) -> tuple[list[Component], str | None]:
    try:
        async with asyncio.timeout(ASK_SECONDS):
            text = await _answer(f"/{kind}s", target, DiscreetTransport(transport, secrecy))
        # A list of many with long descriptions takes a moment to read.
        return await asyncio.to_thread(_read, kind, text, secrecy), None
    except TimeoutError:
        trouble = f"it said nothing for {ASK_SECONDS:g} s"
    except (NotConnected, ConnectionBroken, NotHttp, ValueError) as error:
        trouble = str(error)
    return [], secrecy.blotter.error(f"asked for its {kind}s: {trouble}"[:1_000])


async def _answer(path: str, target: TargetSettings, transport: DiscreetTransport) -> str:
    request = Request(method="GET", url=target.url_for(path), headers=_HEADERS)
    async with transport.send(target, request) as answer:
        text, is_cut = await answer.text(ANSWER_BYTES)
    if is_cut:
        raise ValueError(f"its answer is longer than {ANSWER_BYTES:,} bytes")
    if answer.status != 200:
        raise ValueError(f"HTTP {answer.status} {error_detail(text)}".strip())
    return text


def _read(kind: TargetType, text: str, secrecy: Secrecy) -> list[Component]:
    try:
        said = parse_json(text)
    except ValueError:
        raise ValueError("its answer is no JSON: is it an AgentOS?") from None
    rows = said.get("data") if isinstance(said, dict) else said
    if not isinstance(rows, list):
        raise ValueError("its answer is no list: is it an AgentOS?")  # noqa: TRY004 - for whoever reads it
    return list(_components(kind, rows, secrecy))


def _components(kind: TargetType, rows: list[Json], secrecy: Secrecy) -> Iterator[Component]:
    """What has no id cannot be called; what is secret is no id."""
    for row in rows:
        identifier = row.get("id") if isinstance(row, dict) else None
        if not isinstance(identifier, str) or not identifier or secrecy.blotter.text(identifier) != identifier:
            continue
        yield Component(
            type=kind,
            id=identifier,
            name=_shown(row.get("name"), secrecy) or identifier,
            description=_shown(row.get("description"), secrecy),
            endpoint=f"/{kind}s/{quote(identifier, safe='')}/runs",
        )


def _shown(text: Json, secrecy: Secrecy) -> str | None:
    return secrecy.blotter.text(text)[:TEXT_CHARACTERS] if isinstance(text, str) else None
