"""One place where errors become answers. All bodies are `{"detail": ...}`, as AgentOS has them."""

from __future__ import annotations

import json
import math
import traceback
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from agentclock.backfilling import BackfillDraft
from agentclock.core.errors import (
    Conflict,
    CorruptRow,
    Forbidden,
    InvalidField,
    InvalidFields,
    KeyReused,
    NotFound,
    StoreUnavailable,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from agentclock.declaring.model import ApplyDraft
from agentclock.drafts import PreviewDraft, ScheduleDraft, fault_message, wire_names
from agentclock.runs import Answers
from agentclock.triggering import RetryDraft, TriggerDraft

RETRY_AFTER_SECONDS: Final = 5
_MOST_FAULTS: Final = 20
_ECHO_CHARACTERS: Final = 1_000


_STATUS: Final[Mapping[type[Exception], HTTPStatus]] = {
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}


#: What is read from the body, by the ends of paths; everything else is about a schedule.
_BODIES: Final[Mapping[str, type[BaseModel]]] = {
    "/session": BaseModel,
    "/schedules/apply": ApplyDraft,
    "/retry": RetryDraft,
    "/backfills": BackfillDraft,
    "/trigger": TriggerDraft,
    "/continue": Answers,
}


def error_response(error: Exception, request: Request) -> JSONResponse:
    """The answer to a request that failed with `error`; what is not the caller's fault is logged.

    Neither answer nor log line contains anything of the request but its method and route.
    """
    if isinstance(error, RequestValidationError):
        return _invalid([_fault(fault, request) for fault in error.errors()[:_MOST_FAULTS]])
    if isinstance(error, InvalidField | InvalidFields):
        faults = [error] if isinstance(error, InvalidField) else error.faults
        return _invalid([_field_fault(fault, request) for fault in faults])
    if isinstance(error, KeyReused):
        return _invalid([{"type": "key_reused", "loc": ["header", "Idempotency-Key"], "msg": str(error)}])
    status, detail = _meaning(error)
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return _answer(status, detail, _headers_of(error))
    log = structlog.get_logger("agentclock.api").bind(method=request.method, route=_route_of(request))
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        # The engine has said that the database is away: not once more for each request.
        say = log.debug if isinstance(error, StoreUnavailable) else log.warning
        say("unavailable", reason=type(error).__name__)
        return _answer(status, detail, {"Retry-After": str(RETRY_AFTER_SECONDS)})
    # Rendered here: pretty renderers of tracebacks show local variables, and those hold what callers sent.
    log.error("request_failed", exception="".join(traceback.format_exception(error)))
    return _answer(status, detail)


async def unexpected(request: Request, error: Exception) -> JSONResponse:
    """The handler of errors outside of our routes."""
    return error_response(error, request)


def _meaning(error: Exception) -> tuple[HTTPStatus, str]:
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), None)
    match error:
        case StoreUnavailable():
            return HTTPStatus.SERVICE_UNAVAILABLE, "The database does not answer at the moment: try again"
        case CorruptRow():
            detail = f"The stored row cannot be read: {error.table} {error.row_id}"
            return HTTPStatus.INTERNAL_SERVER_ERROR, detail
        case _ if status is None:
            return HTTPStatus.INTERNAL_SERVER_ERROR, "Internal server error"
        case _:
            return status, str(error) or status.phrase


def _headers_of(error: Exception) -> dict[str, str]:
    match error:
        case Unauthenticated():
            return {"WWW-Authenticate": 'Bearer error="invalid_token"' if error.is_wrong else "Bearer"}
        case TooManyRequests():
            return {"Retry-After": str(max(1, math.ceil(error.retry_after_seconds)))}
        case TooLarge():
            # The body was not read to its end: the connection cannot carry another request.
            return {"Connection": "close"}
        case _:
            return {}


def _answer(status: HTTPStatus, detail: object, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"detail": detail}, status_code=status, headers=dict(headers or {}))


def _invalid(faults: Sequence[Mapping[str, Any]]) -> JSONResponse:
    return _answer(HTTPStatus.UNPROCESSABLE_ENTITY, list(faults))


def _field_fault(error: InvalidField, request: Request) -> dict[str, Any]:
    place = "query" if request.method == "GET" else "body"
    path = [] if error.field == place else [_part(part) for part in error.field.split(".")]
    fault = {"type": "invalid_field", "loc": [place, *path], "msg": error.message, "ctx": error.context}
    return _printable(fault)


def _part(part: str) -> str | int:
    """A name, or a place in a list, of which there are not so many."""
    return int(part) if part.isascii() and part.isdecimal() and len(part) < 9 else part


def _fault(error: Mapping[str, Any], request: Request) -> dict[str, Any]:
    loc = error["loc"]
    message = fault_message(error["type"], str(loc[-1]), error["msg"], wire_names(_fields_of(request)))
    fault = {"type": error["type"], "loc": list(loc), "msg": message, "ctx": error.get("ctx") or {}}
    if "input" in error:
        fault["input"] = error["input"]
    return _printable(fault)


def _fields_of(request: Request) -> type[BaseModel]:
    if request.method == "GET":
        return PreviewDraft
    path = request.scope["path"]
    if "/bulk/" in path:
        return BaseModel  # fields of which none is like another
    return next((model for ending, model in _BODIES.items() if path.endswith(ending)), ScheduleDraft)


def _printable(fault: Mapping[str, Any]) -> dict[str, Any]:
    """`fault` as it can be sent: what the caller sent is repeated only if it is short and proper JSON."""
    shown = {
        "type": fault["type"],
        "loc": [part if isinstance(part, int) else _text(str(part)) for part in fault["loc"]],
        "msg": _text(fault["msg"]),
    }
    if "input" in fault and _is_short_json(fault["input"]):
        shown["input"] = fault["input"]
    context = {name: value if _is_short_json(value) else _text(str(value)) for name, value in fault["ctx"].items()}
    return shown | ({"ctx": context} if context else {})


def _text(text: str) -> str:
    return text[:_ECHO_CHARACTERS].encode("utf-8", "replace").decode()


def _is_short_json(value: object) -> bool:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return len(text) <= _ECHO_CHARACTERS


def _route_of(request: Request) -> str:
    return getattr(request.scope.get("route"), "path", "unknown")
