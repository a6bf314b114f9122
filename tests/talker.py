"""An AgentOS on loopback whose agents say what a test tells them to, when it tells them."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Self

from aiohttp import web

#: What an agent needs a person for.
REFUND = {
    "id": "requirement-1",
    "tool_execution": {
        "tool_call_id": "call-1",
        "tool_name": "refund",
        "tool_args": {"euros": 37},
        "requires_confirmation": True,
        "confirmed": None,
    },
}


class Talker:
    """`/agents/live/runs` says what `say` is given until `finish`; `/agents/brief/runs` says hello at once,
    `/agents/asking/runs` waits for a person; other paths answer `status`. `heard` are the bodies of plain calls."""

    def __init__(self) -> None:
        self.status = 200
        self.heard: list[Any] = []
        self.url = ""
        self._lines: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/agents/{id}/runs", self._run)
        app.router.add_post("/agents/{id}/runs/{run_id}/continue", self._continue)
        app.router.add_get("/agents/{id}/runs/{run_id}", self._show)
        app.router.add_route("*", "/{rest:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def say(self, *texts: str) -> None:
        for text in texts:
            self._lines.put_nowait({"event": "RunContent", "content": text})

    def finish(self, text: str = "all of it") -> None:
        self._lines.put_nowait({"event": "RunCompleted", "content": text, "content_type": "str"})

    async def _run(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        ids = {"run_id": str(form["run_id"]), "session_id": str(form["session_id"])}
        match request.match_info["id"]:
            case "live":
                return await self._stream(request, ids)
            case "asking":
                paused = {"event": "RunPaused", "content": "May I?", "requirements": [REFUND], "tools": []}
                return await _all(request, ids, {"event": "RunStarted"}, paused)
            case _:
                return await _all(request, ids, {"event": "RunStarted"}, *_HELLO)

    async def _continue(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        ids = {"run_id": request.match_info["run_id"], "session_id": str(form.get("session_id"))}
        return await _all(request, ids, {"event": "RunContinued"}, *_HELLO)

    async def _show(self, request: web.Request) -> web.Response:
        """As it stands: it waits."""
        shown = {"run_id": request.match_info["run_id"], "status": "PAUSED", "requirements": [REFUND]}
        return web.json_response(shown)

    async def _stream(self, request: web.Request, ids: dict[str, str]) -> web.StreamResponse:
        response = await _begin(request)
        await _send(response, ids, 0, {"event": "RunStarted"})
        number, data = 1, await self._lines.get()
        while data["event"] != "RunCompleted":
            await _send(response, ids, number, data)
            number, data = number + 1, await self._lines.get()
        await _send(response, ids, number, data)
        return response

    async def _answer(self, request: web.Request) -> web.Response:
        self.heard.append(await request.json() if request.can_read_body else None)
        return web.json_response({"said": "\x1b[31mred\x1b[0m [bold]x[/bold]"}, status=self.status)


_TOOL = {"tool_name": "look", "tool_args": {"at": "\x1b]0;title\x07"}}
_HELLO = (
    {"event": "RunContent", "content": "Hel"},
    {"event": "RunContent", "content": "lo\x1b[2J"},
    {"event": "ToolCallStarted", "tool": _TOOL},
    {"event": "ToolCallCompleted", "tool": {**_TOOL, "result": "twelve"}},
    {"event": "RunCompleted", "content": "Hello", "content_type": "str", "metrics": {"total_tokens": 12}},
)


async def _all(request: web.Request, ids: dict[str, str], *events: dict[str, Any]) -> web.StreamResponse:
    response = await _begin(request)
    for number, data in enumerate(events):
        await _send(response, ids, number, data)
    return response


async def _begin(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    return response


async def _send(response: web.StreamResponse, ids: dict[str, str], number: int, data: dict[str, Any]) -> None:
    whole = {**ids, "event_index": number, **data}
    await response.write(f"event: {data['event']}\ndata: {json.dumps(whole)}\n\n".encode())
