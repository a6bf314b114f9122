"""Calls of the ASGI app in whose process we live: no socket, streamed both ways, through all of its middleware."""

from __future__ import annotations

import asyncio
import contextvars
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote, urlencode

import structlog
from multidict import CIMultiDict, CIMultiDictProxy
from starlette.types import ASGIApp, Message, Scope

from agentclock.executor.targets import TargetSettings
from agentclock.executor.transport import Answer, ConnectionBroken, NotConnected, Request

#: How much of an answer waits for its reader before the app has to wait as well.
HELD_BYTES: Final = 64 * 1024

#: How long the app may go on with an answer that nobody reads any more.
PARTING_SECONDS: Final = 5.0

_BODYLESS_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_FORM: Final = "application/x-www-form-urlencoded"


class AsgiTransport:
    """Calls `app` as a server does, each time in a task and a context of its own.

    Nothing is sent before `open`: an app must have completed its start-up before it is called. `hide` takes secrets
    out of what is logged.
    """

    def __init__(
        self, app: ASGIApp, *, parting_seconds: float = PARTING_SECONDS, hide: Callable[[str], str] = str
    ) -> None:
        self.app = app
        self._hide = hide
        self._parting_seconds = parting_seconds
        self._is_open = False
        self._state: Mapping[str, Any] | None = None
        # What surrounds a call of ours (a run, the request of whoever attached us) is none of the app's business.
        self._context = contextvars.copy_context()
        self._tasks: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger("agentclock.executor")

    def open(self, state: Mapping[str, Any] | None = None) -> None:
        """The app is ready to be called. `state`: what its lifespan made for requests; each gets a shallow copy."""
        self._is_open, self._state = True, state

    @asynccontextmanager
    async def send(self, target: TargetSettings, request: Request) -> AsyncIterator[Answer]:
        if not self._is_open:
            reason = "the app in whose process it lives has not completed its start-up"
            raise NotConnected(f"target '{target.name}' cannot be reached: {reason}")
        body = urlencode(request.form, doseq=True).encode() if request.form is not None else request.body or b""
        exchange = _Exchange(body, is_head=request.method == "HEAD")
        call = self._call(_scope(target, request, len(body), self._state), exchange, target.name)
        task = asyncio.create_task(call, name="agentclock-call", context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            yield await exchange.answer()
        finally:
            exchange.leave()
            if not (exchange.is_complete or exchange.is_over):
                self._see_off(task, exchange)

    async def close(self) -> None:
        """Nothing is sent any more. What still runs gets a moment; work that answered its caller may go on longer."""
        self._is_open = False
        tasks = list(self._tasks)
        if not tasks:
            return
        _, going_on = await asyncio.wait(tasks, timeout=self._parting_seconds)
        if going_on:
            self._log.info("calls_go_on", count=len(going_on))

    async def _call(self, scope: Scope, exchange: _Exchange, target: str) -> None:
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except Exception as error:
            exchange.failure = f"the app raised {type(error).__name__}"
            # Rendered here: pretty renderers of tracebacks show local variables, and those may hold secrets.
            text = "".join(traceback.format_exception(error))
            self._log.error("app_raised", target=target, path=scope["path"], exception=self._hide(text))
        except asyncio.CancelledError:
            exchange.failure = "the app's task was cancelled"
            raise
        finally:
            exchange.end()

    def _see_off(self, task: asyncio.Task[None], exchange: _Exchange) -> None:
        """Nobody reads any more: an app that does not come to the end of its answer is stopped after a moment."""

        def stop() -> None:
            if not exchange.is_complete:
                task.cancel()

        timer = asyncio.get_running_loop().call_later(self._parting_seconds, stop)
        task.add_done_callback(lambda _: timer.cancel())


class AsgiAnswer(Answer):
    def __init__(self, exchange: _Exchange, status: int, headers: CIMultiDictProxy[str]) -> None:
        super().__init__(status, _phrase(status), headers)
        self._exchange = exchange

    async def piece(self) -> bytes:
        return await self._exchange.piece()


class _Exchange:
    """One request and its answer, between the app and whoever reads.

    `is_complete`: the app sent the end of its answer. `is_over`: it will not send anything any more.
    """

    def __init__(self, body: bytes, *, is_head: bool) -> None:
        self._body: bytes | None = body
        self._is_head = is_head
        self._start: Message | None = None
        self._pieces: list[bytes] = []
        self._held = 0
        self._is_left = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._disconnected = asyncio.Event()
        self.is_complete = False
        self.is_over = False
        self.failure: str | None = None

    # the app's side

    async def receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._disconnected.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] != ("http.response.start" if self._start is None else "http.response.body"):
            raise RuntimeError(f"unexpected ASGI message {message['type']!r}")
        if self._start is None:
            self._start = message
            self._news.set()
            return
        if self.is_complete:
            raise RuntimeError("ASGI message after the end of the answer")
        body = message.get("body", b"")
        if body and not self._is_left and not self._is_head:
            self._pieces.append(bytes(body))
            self._held += len(body)
            self._news.set()
        if not message.get("more_body", False):
            self.is_complete = True
            self._news.set()
            self._disconnected.set()
        elif self._is_left:
            await asyncio.sleep(0)  # or an app that only sends could never be stopped
        while self._held > HELD_BYTES and not self._is_left:
            self._room.clear()
            await self._room.wait()

    def end(self) -> None:
        self.is_over = True
        self._news.set()

    # the reader's side

    async def answer(self) -> AsgiAnswer:
        while self._start is None:
            if self.is_over:
                raise ConnectionBroken(f"{self.failure or 'the app returned'} before it answered")
            await self._wait()
        headers = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in self._start.get("headers", ()))
        return AsgiAnswer(self, self._start["status"], CIMultiDictProxy(CIMultiDict(headers)))

    async def piece(self) -> bytes:
        while not self._pieces:
            if self.is_complete:
                return b""
            if self.is_over:
                raise ConnectionBroken(f"{self.failure or 'the app returned'} before the end of its answer")
            await self._wait()
        piece = b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        self._room.set()
        return piece

    def leave(self) -> None:
        self._is_left = True
        self._pieces.clear()
        self._held = 0
        self._room.set()
        self._disconnected.set()

    async def _wait(self) -> None:
        self._news.clear()
        await self._news.wait()


def _scope(target: TargetSettings, request: Request, length: int, state: Mapping[str, Any] | None) -> Scope:
    url = request.url
    headers = {"host": url.host_port_subcomponent or "", "accept": "*/*", "accept-encoding": "identity"}
    if length or request.method not in _BODYLESS_METHODS:
        headers["content-length"] = str(length)
    if request.form is not None:
        headers["content-type"] = _FORM
    headers.update((name.lower(), value) for name, value in request.headers.items())
    headers.update((name.lower(), value) for name, value in target.headers.items())
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": (url.host, url.port),
        "client": ("127.0.0.1", 0),
        "scheme": url.scheme,
        "method": request.method,
        "root_path": "",
        "path": unquote(url.raw_path),
        "raw_path": url.raw_path.encode(),
        "query_string": url.raw_query_string.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    if state is not None:
        scope["state"] = dict(state)
    return scope


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
