"""An AgentOS that answers as it is told: real HTTP, no agents."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Self

from aiohttp import web

from agentclock.testing.gauge import Gauge


class Behaviour(StrEnum):
    """How a FakeAgentOS takes one start of a run. After the start its other routes tell what became of the run."""

    OK = "ok"
    TOOL = "tool"
    ERROR = "error"
    PAUSE = "pause"
    OWN_IDS = "own_ids"
    #: Says that it has begun, then nothing until `finish`, a cancellation or the end of the server.
    HANG = "hang"
    #: The stream breaks off after the first words; the run ends well.
    DROP = "drop"
    #: Likewise, and the run is never heard of again.
    FORGET = "forget"
    #: 202 with ids and no stream; the run ends well.
    NO_STREAM = "no_stream"
    #: A stream of bytes that are no events, and no run.
    GARBAGE = "garbage"
    SERVER_ERROR = "server_error"
    #: 429 with Retry-After: 7.
    BUSY = "busy"
    #: 307 to another host.
    REDIRECT = "redirect"


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeCall:
    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    form: Mapping[str, str]
    body: bytes


@dataclass(slots=True, kw_only=True)
class FakeRun:
    """A run of a FakeAgentOS; `prefix` starts the names of its events."""

    run_id: str
    session_id: str
    prefix: str
    status: str = "RUNNING"
    answer: dict[str, Any] = field(default_factory=dict)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self, status: str, **answer: Any) -> None:
        self.status, self.answer = status, answer
        self.over.set()

    def event(self, name: str, **data: Any) -> bytes:
        event = name if name.startswith("Tool") else self.prefix + name
        fields = {"event": event, "run_id": self.run_id, "session_id": self.session_id, **data}
        return f"event: {event}\ndata: {json.dumps(fields)}\n\n".encode()


class FakeAgentOS:
    """Speaks the run routes of AgentOS on a free port of 127.0.0.1, as scripted; remembers every call.

    A component without a script behaves `OK`. Any other path answers 200 with a small JSON object.
    """

    words: Final = ("Good ", "morning.")
    usage: Final = {"input_tokens": 5, "output_tokens": 3, "total_tokens": 8}

    def __init__(self) -> None:
        self.calls: list[FakeCall] = []
        self.runs: dict[str, FakeRun] = {}
        self.base_url = ""
        self._scripts: dict[str, list[Behaviour]] = {}
        self._runner: web.AppRunner | None = None
        self._called = Gauge()

    def behave(self, component_id: str, *behaviours: Behaviour) -> None:
        """One behaviour a start, in order; the last one repeats."""
        self._scripts[component_id] = list(behaviours)

    def finish(self, run_id: str) -> None:
        """Lets a run that hangs end well."""
        self._complete(self.runs[run_id])

    def starts(self) -> list[FakeCall]:
        """The calls that started a run."""
        return [call for call in self.calls if call.method == "POST" and call.path.endswith("/runs")]

    async def called(self, count: int = 1) -> None:
        """Waits until `count` calls were made in all."""
        await self._called.reaches(count)

    async def start(self) -> None:
        app = web.Application()
        for kind, prefix in (("agents", "Run"), ("teams", "TeamRun"), ("workflows", "Workflow")):
            app.router.add_post(f"/{kind}/{{id}}/runs", self._starter(prefix))
            app.router.add_get(f"/{kind}/{{id}}/runs/{{run_id}}", self._state)
            app.router.add_post(f"/{kind}/{{id}}/runs/{{run_id}}/cancel", self._cancel)
        app.router.add_route("*", "/{rest:.*}", self._anything)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        for run in self.runs.values():
            run.over.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _starter(self, prefix: str) -> Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]:
        async def begin(request: web.Request) -> web.StreamResponse:
            call = await self._record(request)
            script = self._scripts.get(request.match_info["id"]) or [Behaviour.OK]
            behaviour = script.pop(0) if len(script) > 1 else script[0]
            return self._refusal(behaviour) or await self._run(request, behaviour, prefix, call.form)

        return begin

    async def _record(self, request: web.Request) -> FakeCall:
        body = await request.read()
        form = {name: str(value) for name, value in (await request.post()).items()}
        call = FakeCall(
            method=request.method,
            path=request.path,
            headers=request.headers.copy(),
            query=dict(request.query),
            form=form,
            body=body,
        )
        self.calls.append(call)
        self._called.set(len(self.calls))
        return call

    def _refusal(self, behaviour: Behaviour) -> web.Response | None:
        match behaviour:
            case Behaviour.SERVER_ERROR:
                return web.json_response({"detail": "something broke"}, status=500)
            case Behaviour.BUSY:
                return web.json_response({"detail": "too busy"}, status=429, headers={"Retry-After": "7"})
            case Behaviour.REDIRECT:
                return web.Response(status=307, headers={"Location": "http://elsewhere.invalid/"})
            case _:
                return None

    async def _run(
        self, request: web.Request, behaviour: Behaviour, prefix: str, form: Mapping[str, str]
    ) -> web.StreamResponse:
        own = behaviour is Behaviour.OWN_IDS
        run_id = str(uuid.uuid4()) if own else form.get("run_id", str(uuid.uuid4()))
        run = FakeRun(run_id=run_id, session_id=form.get("session_id", "session"), prefix=prefix)
        if behaviour is not Behaviour.GARBAGE:
            self.runs[run_id] = run
        if behaviour is Behaviour.NO_STREAM:
            self._complete(run)
            return web.json_response({"run_id": run_id, "session_id": run.session_id, "status": "PENDING"}, status=202)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        async for part in self._stream(run, behaviour):
            with suppress(ConnectionResetError):  # the client has gone, as real ones do; the run goes on
                await response.write(part)
        if behaviour in (Behaviour.DROP, Behaviour.FORGET) and request.transport is not None:
            request.transport.abort()
        return response

    async def _stream(self, run: FakeRun, behaviour: Behaviour) -> AsyncIterator[bytes]:
        if behaviour is Behaviour.GARBAGE:
            yield b"data: {this is no JSON\n\n\xff\xfe\0: nothing\r\r"
            return
        yield run.event("Started")
        yield run.event("Content", content=self.words[0])
        match behaviour:
            case Behaviour.ERROR:
                run.end("ERROR", content="the model broke")
            case Behaviour.PAUSE:
                run.end("PAUSED", content="May I?", requirements=[{"id": "r1"}])
            case Behaviour.DROP:
                self._complete(run)
                return
            case Behaviour.FORGET:
                del self.runs[run.run_id]
                return
            case Behaviour.HANG:
                await run.over.wait()
            case Behaviour.TOOL:
                tool = {"tool_name": "clock", "tool_args": {}, "result": "noon"}
                yield run.event("ToolCallStarted", tool={**tool, "result": None})
                yield run.event("ToolCallCompleted", tool=tool)
                self._complete(run)
            case _:
                yield run.event("Content", content=self.words[1])
                self._complete(run)
        endings = {"COMPLETED": "Completed", "ERROR": "Error", "PAUSED": "Paused", "CANCELLED": "Cancelled"}
        if run.status in endings:
            yield run.event(endings[run.status], **run.answer)

    def _complete(self, run: FakeRun) -> None:
        run.end("COMPLETED", content="".join(self.words), content_type="str", metrics=self.usage)

    async def _state(self, request: web.Request) -> web.StreamResponse:
        await self._record(request)
        run = self.runs.get(request.match_info["run_id"])
        if run is None:
            return web.json_response({"detail": "Run not found"}, status=404)
        ids = {"run_id": run.run_id, "session_id": run.session_id}
        return web.json_response({**ids, "status": run.status, **run.answer})

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        await self._record(request)
        run = self.runs.get(request.match_info["run_id"])
        if run is not None and run.status == "RUNNING":
            run.end("CANCELLED", reason="cancelled by request")
        return web.json_response({})

    async def _anything(self, request: web.Request) -> web.StreamResponse:
        await self._record(request)
        return web.json_response({"received": True})
