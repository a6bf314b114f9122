"""Request bodies, read strictly before anything looks at them, and the route class that guards our routes."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, ClassVar, Final

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from agentclock.api.auth import admission_of
from agentclock.api.errors import error_response
from agentclock.api.limits import RequestLimits
from agentclock.api.schemas import json_answer
from agentclock.core.errors import TooLarge
from agentclock.core.storable import PAYLOAD_BYTES, PAYLOAD_DEPTH

#: A payload of the allowed size cannot have more values: each takes a character, and one that parts it from the next.
MOST_VALUES: Final = PAYLOAD_BYTES // 2
#: No body that is understood has so many fields.
MOST_FIELDS: Final = 500
#: Texts in JSON, with whatever is escaped in them; the last one may lack its end. Linear: nothing is tried twice.
_TEXTS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\Z)', re.DOTALL)
_PARTS: Final = (b",", b"[", b"{")


class ApiRoute(APIRoute):
    """A route that admits callers before it reads anything of theirs, reads bodies strictly and answers errors in our
    shapes, whichever app it is part of."""

    body_bytes: ClassVar[int] = RequestLimits().body_bytes

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.body_field is not None:
            self.responses = {413: json_answer(413), **self.responses}

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handle = super().get_route_handler()
        takes_body = self.body_field is not None
        admission = admission_of(self.dependencies)

        async def guarded(request: Request) -> Response:
            try:
                if admission is not None:
                    await admission(request)
                return await handle(await _strictly_read(request, self.body_bytes) if takes_body else request)
            except HTTPException:
                raise
            except ClientDisconnect:
                return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody will read it
            except Exception as error:
                return error_response(error, request)

        return guarded


def limited_route(body_bytes: int) -> type[ApiRoute]:
    """An ApiRoute that refuses larger bodies."""
    return type("LimitedRoute", (ApiRoute,), {"body_bytes": body_bytes})


class _ReadRequest(Request):
    """A request whose body was read and parsed already."""

    def __init__(self, request: Request, content: bytes, parsed: Any) -> None:
        super().__init__(request.scope, request.receive)
        self._content = content
        self._parsed = parsed

    async def body(self) -> bytes:
        return self._content

    async def json(self) -> Any:
        return self._parsed


async def _strictly_read(request: Request, most_bytes: int) -> Request:
    """Raises TooLarge, and RequestValidationError for anything but one JSON text in UTF-8 of bearable complexity.

    What JSON lacks but Python reads (NaN, lone surrogates) is left to the fields, which can be named then.
    """
    content = await _read_capped(request, most_bytes)
    if not content:
        return _ReadRequest(request, content, None)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise _fault("content_type", ("body",), f"Send JSON with content-type: application/json, not {kind or 'none'}")
    return _ReadRequest(request, content, _parse(content))


async def _read_capped(request: Request, most_bytes: int) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and len(announced) < 20 and int(announced) > most_bytes:
        raise TooLarge(most_bytes)
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > most_bytes:
            raise TooLarge(most_bytes)
    return bytes(content)


def _parse(content: bytes) -> Any:
    if _has_too_many_values(content):
        message = f"The body has more than {MOST_VALUES:,} values: a payload may have {PAYLOAD_BYTES:,} bytes as JSON"
        raise _fault("payload", ("body", "payload"), message)
    try:
        parsed = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _fault("json_invalid", ("body", error.start), "The body is not valid UTF-8") from None
    except json.JSONDecodeError as error:
        raise _fault("json_invalid", ("body", error.pos), "JSON decode error", error=error.msg) from None
    except RecursionError:
        message = f"The payload is nested too deep: at most {PAYLOAD_DEPTH} levels are allowed"
        raise _fault("payload", ("body", "payload"), message) from None
    except ValueError:
        # Python refuses whole numbers of thousands of digits.
        raise _fault("json_invalid", ("body",), "The body contains a number with too many digits") from None
    if isinstance(parsed, dict) and len(parsed) > MOST_FIELDS:
        raise _fault("too_many_fields", ("body",), f"The body has {len(parsed):,} fields: see the documentation")
    return parsed


def _has_too_many_values(content: bytes) -> bool:
    """Counted before they take memory, a hundred times as much as their text. What stands in texts counts only until it
    seems to be too many."""
    if sum(map(content.count, _PARTS)) <= MOST_VALUES:
        return False
    bare = _TEXTS.sub(b"", content)
    return sum(map(bare.count, _PARTS)) > MOST_VALUES


def _fault(kind: str, loc: tuple[str | int, ...], message: str, **context: object) -> RequestValidationError:
    return RequestValidationError([{"type": kind, "loc": loc, "msg": message, "ctx": context}])
