"""An AgentOS that answers as it is told: real HTTP, no agents."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

from aiohttp import web

from agentclock.testing.fake_runs import USAGE, WORDS, Behaviour, FakeRun, frame
from agentclock.testing.gauge import Gauge

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Hindrance(StrEnum):
    """What a part of a FakeAgentOS does instead of its work."""

    #: Never answers.
    STALL = "stall"
    #: Answers with an event stream that ends at once.
    CUT = "cut"
    #: Answers with something that nobody can read.
    GARBAGE = "garbage"


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeCall:
    """`at`: the event loop's time."""

    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    form: Mapping[str, str]
    body: bytes
    at: float = 0.0


class FakeAgentOS:
    """Speaks the run routes of AgentOS on a free port of 127.0.0.1, as scripted; remembers every call.

    A component without a script behaves `OK`. Any other path answers 200 with a small JSON object.
    """

    words: Final = WORDS
    usage: Final = USAGE

    def __init__(self) -> None:
        self.calls: list[FakeCall] = []
        self.runs: dict[str, FakeRun] = {}
        self.base_url = ""
        self._scripts: dict[str, list[Behaviour]] = {}
        self._hindrances: dict[str, Hindrance | int] = {}
        self._called_off: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._streams: list[web.Request] = []
        self._stopping = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._called = Gauge()

    # scripts

    def behave(self, component_id: str, *behaviours: Behaviour) -> None:
        """One behaviour a start, and a continuation; in order; the last one repeats."""
        self._scripts[component_id] = list(behaviours)

    def hinder(self, part: str, hindrance: Hindrance | int | None) -> None:
        """`part`: "state", "resume", "cancel" or "continue". A number is a status to refuse with; None: it works
        again."""
        if hindrance is None:
            self._hindrances.pop(part, None)
        else:
            self._hindrances[part] = hindrance

    def finish(self, run_id: str) -> None:
        """Lets a run that hangs end well."""
        self.runs[run_id].complete()

    def cut_streams(self) -> None:
        """Breaks every connection that carries events; the runs go on."""
        for request in tuple(self._streams):
            if request.transport is not None:
                request.transport.abort()

    def restart(self) -> None:
        """What is only in memory is gone: streams, what they can be resumed from, and whoever worked on runs."""
        self.cut_streams()
        for run in self.runs.values():
            run.lose_host()

    # what was called

    def starts(self) -> list[FakeCall]:
        """The calls that started a run."""
        return [call for call in self.calls if call.method == "POST" and call.path.endswith("/runs")]

    def calls_of(self, part: str) -> list[FakeCall]:
        """The calls that resumed, continued or cancelled a run."""
        return [call for call in self.calls if call.path.endswith(f"/{part}")]

    def span_seconds(self) -> float:
        """From the first to the last call."""
        return self.calls[-1].at - self.calls[0].at if self.calls else 0.0

    async def called(self, count: int = 1) -> None:
        """Waits until `count` calls were made in all."""
        await self._called.reaches(count)

    # life

    async def start(self) -> None:
        app = web.Application()
        for kind, prefix in (("agents", "Run"), ("teams", "TeamRun"), ("workflows", "Workflow")):
            run_path = f"/{kind}/{{id}}/runs/{{run_id}}"
            app.router.add_post(f"/{kind}/{{id}}/runs", self._starter(prefix))
            app.router.add_get(run_path, self._hindered("state", self._state))
            app.router.add_post(f"{run_path}/resume", self._hindered("resume", self._resume))
            app.router.add_post(f"{run_path}/continue", self._hindered("continue", self._continue))
            app.router.add_post(f"{run_path}/cancel", self._hindered("cancel", self._cancel))
        app.router.add_route("*", "/{rest:.*}", self._anything)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        self._stopping.set()
        for run in self.runs.values():
            run.lose_host()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # routes

    def _starter(self, prefix: str) -> _Handler:
        async def begin(request: web.Request) -> web.StreamResponse:
            call = await self._record(request)
            behaviour = self._next_behaviour(request)
            return self._refusal(behaviour) or await self._run(request, behaviour, prefix, call.form)

        return begin

    def _hindered(
        self, part: str, handler: Callable[[web.Request, FakeCall], Awaitable[web.StreamResponse]]
    ) -> _Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            call = await self._record(request)
            match self._hindrances.get(part):
                case None:
                    return await handler(request, call)
                case Hindrance.STALL:
                    await self._stopping.wait()
                    return web.Response(status=503)
                case Hindrance.CUT:
                    return web.Response(content_type="text/event-stream")
                case Hindrance.GARBAGE:
                    return web.Response(body=b"\xff{ no JSON", content_type="text/event-stream")
                case status:
                    return web.json_response({"detail": f"hindered {part}"}, status=int(status))

        return handle

    async def _record(self, request: web.Request) -> FakeCall:
        at = asyncio.get_running_loop().time()
        body = await request.read()
        form = {name: str(value) for name, value in (await request.post()).items()}
        call = FakeCall(
            method=request.method,
            path=request.path,
            headers=request.headers.copy(),
            query=dict(request.query),
            form=form,
            body=body,
            at=at,
        )
        self.calls.append(call)
        self._called.set(len(self.calls))
        return call

    def _next_behaviour(self, request: web.Request) -> Behaviour:
        script = self._scripts.get(request.match_info["id"]) or [Behaviour.OK]
        return script.pop(0) if len(script) > 1 else script[0]

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
        if behaviour is Behaviour.GARBAGE:
            garbage = b"data: {this is no JSON\n\n\xff\xfe\0: nothing\r\r"
            return web.Response(body=garbage, content_type="text/event-stream")
        own = behaviour is Behaviour.OWN_IDS
        run_id = str(uuid.uuid4()) if own else form.get("run_id", str(uuid.uuid4()))
        run = FakeRun(run_id=run_id, session_id=form.get("session_id", "session"), prefix=prefix)
        self.runs[run_id] = run
        self._perform(run, behaviour)
        if behaviour is Behaviour.NO_STREAM:
            return web.json_response({"run_id": run_id, "session_id": run.session_id, "status": "PENDING"}, status=202)
        broken = behaviour in (Behaviour.DROP, Behaviour.FORGET)
        return await self._stream(request, run, limit=2 if broken else None)

    def _perform(self, run: FakeRun, behaviour: Behaviour) -> None:
        async def perform() -> None:
            if run.run_id in self._called_off:
                run.end("CANCELLED", reason="cancelled before it began")
                return
            await run.perform(behaviour)
            if behaviour is Behaviour.FORGET:
                del self.runs[run.run_id]

        task = asyncio.create_task(perform())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stream(
        self,
        request: web.Request,
        run: FakeRun,
        *,
        after: int = -1,
        preface: tuple[dict[str, Any], ...] = (),
        limit: int | None = None,
    ) -> web.StreamResponse:
        """The run's events; the connection is broken after `limit` of them."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        self._streams.append(request)
        try:
            with suppress(ConnectionError):  # the client has gone, as real ones do; the run goes on
                for event in preface:
                    await response.write(frame(event))
                async for event in run.listen(after):
                    await response.write(frame(event))
                    if event["event_index"] + 1 == limit:
                        break
        finally:
            self._streams.remove(request)
        if limit is not None and request.transport is not None:
            request.transport.abort()
        return response

    async def _state(self, request: web.Request, _call: FakeCall) -> web.StreamResponse:
        run = self.runs.get(request.match_info["run_id"])
        if run is None:
            return web.json_response({"detail": "Run not found"}, status=404)
        return web.json_response(run.state)

    async def _resume(self, request: web.Request, call: FakeCall) -> web.StreamResponse:
        run = self.runs.get(request.match_info["run_id"])
        if run is None:
            error = {"event": "error", "error": "Run not found in buffer or database"}
            return web.Response(body=frame(error), content_type="text/event-stream")
        after = int(call.form.get("last_event_index", -1))
        about = {"run_id": run.run_id, "status": run.status}
        if run.over.is_set():
            return await self._stream(request, run, after=after, preface=({"event": "replay", **about},))
        kinds = ["catch_up", "subscribed"] if run.events[after + 1 :] else ["subscribed"]
        return await self._stream(request, run, after=after, preface=tuple({"event": kind, **about} for kind in kinds))

    async def _continue(self, request: web.Request, call: FakeCall) -> web.StreamResponse:
        run = self.runs.get(request.match_info["run_id"])
        if run is None:
            return web.json_response({"detail": "Run not found"}, status=404)
        is_workflow = run.prefix == "Workflow"
        if is_workflow and call.form.get("background") == "true":
            return web.json_response({"detail": "only for durably-submitted workflow runs"}, status=409)
        if run.is_called_off:
            run.end("CANCELLED", reason="cancelled while it waited")
            return web.Response(content_type="text/event-stream")
        after = len(run.events) - 1
        run.is_hosted = True
        run.over.clear()
        self._perform(run, self._next_behaviour(request))
        if call.form.get("stream") == "true":
            return await self._stream(request, run, after=after)
        await run.over.wait()
        return web.json_response(run.state)

    async def _cancel(self, request: web.Request, _call: FakeCall) -> web.StreamResponse:
        run_id = request.match_info["run_id"]
        run = self.runs.get(run_id)
        if run is None:
            self._called_off.add(run_id)
        elif run.status == "RUNNING" and run.is_hosted:
            run.end("CANCELLED", reason="cancelled by request")
        elif run.status == "PAUSED":
            run.is_called_off = True
        return web.json_response({})

    async def _anything(self, request: web.Request) -> web.StreamResponse:
        await self._record(request)
        return web.json_response({"received": True})
