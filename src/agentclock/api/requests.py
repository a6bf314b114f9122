"""Request bodies, read strictly before anything looks at them, and the route class that guards our routes."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from agentclock.api.auth import admission_of
from agentclock.api.errors import error_response
from agentclock.core.storable import PAYLOAD_BYTES, PAYLOAD_DEPTH

#: A payload of the allowed size may be written with escapes; beyond this nothing is read on.
BODY_BYTES: Final = 4 * PAYLOAD_BYTES


class ApiRoute(APIRoute):
    """A route that admits callers before it reads anything of theirs, reads bodies strictly and answers errors in our
    shapes, whichever app it is part of."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handle = super().get_route_handler()
        takes_body = self.body_field is not None
        admission = admission_of(self.dependencies)

        async def guarded(request: Request) -> Response:
            try:
                if admission is not None:
                    await admission(request)
                return await handle(await _strictly_read(request) if takes_body else request)
            except HTTPException:
                raise
            except ClientDisconnect:
                return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody will read it
            except Exception as error:
                return error_response(error, request)

        return guarded


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


async def _strictly_read(request: Request) -> Request:
    """Raises RequestValidationError for anything but one JSON text in UTF-8 of bearable size.

    What JSON lacks but Python reads (NaN, lone surrogates) is left to the fields, which can be named then.
    """
    content = await _read_capped(request)
    if not content:
        return _ReadRequest(request, content, None)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise _fault("content_type", ("body",), f"Send JSON with content-type: application/json, not {kind or 'none'}")
    return _ReadRequest(request, content, _parse(content))


async def _read_capped(request: Request) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and len(announced) < 20 and int(announced) > BODY_BYTES:
        raise _too_large()
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > BODY_BYTES:
            raise _too_large()
    return bytes(content)


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content.decode("utf-8-sig"))
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


def _too_large() -> RequestValidationError:
    message = f"The body is larger than {BODY_BYTES:,} bytes: a payload may have {PAYLOAD_BYTES:,} bytes as JSON"
    return _fault("too_large", ("body", "payload"), message)


def _fault(kind: str, loc: tuple[str | int, ...], message: str, **context: object) -> RequestValidationError:
    return RequestValidationError([{"type": kind, "loc": loc, "msg": message, "ctx": context}])
