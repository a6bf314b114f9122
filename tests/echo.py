"""A server that repeats whatever it is sent, in every way that an answer has; some of it as an AgentOS."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote, quote_plus

from aiohttp import web

WAYS: Final = (
    "plain",
    "json",
    "detail",
    "chunked",
    "gzip",
    "location",
    "retry-after",
    "reason",
    "media-type",
    "padded",
)
#: As much of an answer is kept, in the settings that this server is for.
KEPT_BYTES: Final = 65_536
AGENTS: Final = ("token", "words", "tool", "reasoning", "failing", "paused", "ids", "names", "unfinished", "refusing")


class Echo:
    """`heard`: all that it was sent, as it came. `posted`: what webhooks, switches and collectors of traces got."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.posted: list[str] = []
        self.url = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Echo]:
        app = web.Application()
        app.router.add_route("*", "/outside/{rest:.*}", self._collect)
        app.router.add_route("*", "/say/{way}/{status}", self._say)
        app.router.add_route("*", "/agents/{id}/runs{rest:.*}", self._run)
        app.router.add_route("*", "/{rest:.*}", self._say)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _collect(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.posted.append(f"{request.path_qs} {body.decode('utf-8', 'replace')}")
        return web.Response(content_type="application/x-protobuf")

    async def _say(self, request: web.Request) -> web.StreamResponse:
        said = await self._heard(request)
        status, way = int(request.match_info.get("status", 500)), request.match_info.get("way", "plain")
        everything = "\n".join(_forms(said)) if way in ("plain", "json") else said
        headers, reason, kind = dict[str, str](), None, "text/plain"
        line = " ".join(said.split())[:4_000]
        match way:
            case "json":
                everything, kind = json.dumps({"headers": dict(request.headers), "all": everything}), "application/json"
            case "detail":
                everything, kind = json.dumps({"detail": line}), "application/json"
            case "chunked":
                return await _chunked(request, status, everything)
            case "gzip":
                packed = gzip.compress(everything.encode())
                return web.Response(status=status, body=packed, headers={"Content-Encoding": "gzip"})
            case "location":
                headers["Location"] = f"https://elsewhere.invalid/?all={quote(line)}"
            case "retry-after":
                headers["Retry-After"] = line
            case "reason":
                reason = line
            case "media-type":
                kind = f"text/{quote(request.headers.get('X-Api-Key', 'plain'))}"
            case "padded":
                # The part that is kept of the answer ends within what is repeated.
                everything = "x" * (KEPT_BYTES - int(request.query.get("kept", 0))) + request.headers["X-Api-Key"]
        return web.Response(
            status=status, reason=reason, text=everything, headers={**headers, "Content-Type": f"{kind}; charset=utf-8"}
        )

    async def _heard(self, request: web.Request) -> str:
        body = (await request.read()).decode("utf-8", "replace")
        form = {name: str(value) for name, value in (await request.post()).items()}
        head = "\n".join(f"{name}: {value}" for name, value in request.headers.items())
        parts = (request.path_qs, dict(request.query), head, body, json.dumps(form, ensure_ascii=False))
        said = "\n".join(map(str, parts))
        self.heard.append(said)
        return said

    async def _run(self, request: web.Request) -> web.StreamResponse:
        said = await self._heard(request)
        if request.match_info["rest"]:
            return web.json_response({"detail": said}, status=404)
        if request.match_info["id"] == "refusing":
            return web.json_response({"detail": [{"loc": ["body", said], "msg": said}]}, status=422)
        form = await request.post()
        ids = {"run_id": str(form["run_id"]), "session_id": str(form["session_id"])}
        credential = request.headers["Authorization"].rpartition(" ")[2]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number, event in enumerate(_SCRIPTS[request.match_info["id"]](said, credential)):
            data = {**ids, "event_index": number, **event}
            await response.write(f"event: {data['event']}\ndata: {json.dumps(data)}\n\n".encode())
        return response


async def _chunked(request: web.Request, status: int, text: str) -> web.StreamResponse:
    response = web.StreamResponse(status=status)
    response.enable_chunked_encoding()
    await response.prepare(request)
    for start in range(0, len(text), 7):
        await response.write(text[start : start + 7].encode())
    return response


def _forms(text: str) -> Iterator[str]:
    """What others make of a text on its way."""
    octets = text.encode()
    yield text
    yield json.dumps(text)
    yield json.dumps(json.dumps(text, ensure_ascii=False))
    yield "".join(f"\\u{ord(character):04x}" for character in text)
    yield quote(text, safe="")
    yield quote_plus(text)
    yield octets.hex()
    yield from (base64.b64encode(b"." * ahead + octets).decode() for ahead in range(3))
    yield base64.urlsafe_b64encode(octets).decode().rstrip("=")


Script = Callable[[str, str], Iterator[dict[str, Any]]]


def _started() -> dict[str, Any]:
    return {"event": "RunStarted", "model": "model-1"}


def _completed(content: Any, **data: Any) -> dict[str, Any]:
    return {"event": "RunCompleted", "content": content, "content_type": "str", **data}


def _by_token(said: str, credential: str) -> Iterator[dict[str, Any]]:
    """One or two characters at a time, as a model writes."""
    yield _started()
    text, start = f"You sent {credential} and {said}", 0
    while start < len(text):
        step = 1 + start % 2
        yield {"event": "RunContent", "content": text[start : start + step]}
        start += step
    yield _completed(text)


def _by_word(said: str, credential: str) -> Iterator[dict[str, Any]]:
    yield _started()
    for form in _forms(f"You sent {credential} and {said.splitlines()[-1]}"):
        for start in range(0, len(form), 31):
            yield {"event": "RunContent", "content": form[start : start + 31]}
    yield _completed("\n".join(_forms(credential)))


def _by_tool(said: str, credential: str) -> Iterator[dict[str, Any]]:
    yield _started()
    tool = {"tool_name": "fetch", "tool_args": {"headers": said, credential: 1}, "result": None}
    yield {"event": "ToolCallStarted", "tool": tool}
    yield {"event": "ToolCallCompleted", "tool": {**tool, "result": "\n".join(_forms(credential))}, "content": said}
    yield {"event": "ToolCallError", "tool": tool, "error": said}
    yield _completed({"answer": said, "nested": [{credential: [said]}]}, metrics={credential: said, "input_tokens": 3})


def _by_reasoning(said: str, credential: str) -> Iterator[dict[str, Any]]:
    yield _started()
    for start in range(0, len(said), 3):
        yield {"event": "RunContent", "content": "", "reasoning_content": said[start : start + 3]}
    for start in range(0, len(said), 5):
        yield {"event": "ReasoningContentDelta", "reasoning_content": said[start : start + 5]}
        yield {"event": "RunContent", "content": credential[start % len(credential)]}
    yield _completed("done", content_type=said, reasoning_content=said)


def _failing(said: str, credential: str) -> Iterator[dict[str, Any]]:
    yield _started()
    yield {"event": "RunContent", "content": f"it is {credential[:-1]}"}
    yield {"event": "RunError", "content": said, "additional_data": {"headers": said}}


def _paused(said: str, credential: str) -> Iterator[dict[str, Any]]:
    yield _started()
    call = {"tool_call_id": "t1", "tool_name": "spend", "tool_args": {"with": credential, "all": said}}
    question = {"id": "r1", "tool_execution": {**call, "requires_confirmation": True, "confirmed": None}}
    yield {"event": "RunPaused", "content": said, "requirements": [question], "tools": [call]}


def _with_ids(said: str, credential: str) -> Iterator[dict[str, Any]]:
    yield {**_started(), "run_id": credential, "session_id": credential}
    yield {**_completed("done"), "run_id": credential, "session_id": credential}
    yield _completed("done")


def _with_names(said: str, credential: str) -> Iterator[dict[str, Any]]:
    yield _started()
    yield {"event": f"Custom{credential}", credential: {said: credential}}
    yield {"event": "RunContent", "content": credential, "run_id": "member-" + credential, "agent_name": credential}
    yield _completed("done", model=credential, model_provider=credential, metrics={"total_tokens": 5})


def _unfinished(said: str, credential: str) -> Iterator[dict[str, Any]]:
    yield _started()
    yield {"event": "error", "run_id": None, "error": said}
    yield {"event": "RunCancelled", "reason": said}


_SCRIPTS: Final[dict[str, Script]] = {
    "token": _by_token,
    "words": _by_word,
    "tool": _by_tool,
    "reasoning": _by_reasoning,
    "failing": _failing,
    "paused": _paused,
    "ids": _with_ids,
    "names": _with_names,
    "unfinished": _unfinished,
}
