"""From what a target answers to an `Outcome`. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

from agentclock.core.model import Json, Outcome, OutcomeKind

_RETRYABLE_CLIENT_ERRORS: Final = frozenset({408, 425, 429})


def parse_json(text: str | bytes) -> Json:
    """Raises ValueError, for absurdly nested input too."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("JSON is nested too deep") from error


def output_of(content: Json, content_type: str | None, limit: int) -> Json:
    """The `output` of a run: content and its type; `truncated` says that only the first `limit` bytes are there."""
    if content is None:
        return None
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    if len(text) <= limit // 4:
        return {"content": content, "content_type": content_type}
    kept = text.encode()[:limit].decode(errors="ignore")
    if len(kept) == len(text):
        return {"content": content, "content_type": content_type}
    return {"content": kept, "content_type": content_type, "truncated": True}


def refusing_answer(status: int, reason: str, headers: Mapping[str, str], body: str) -> Outcome:
    """The outcome of any status but 2xx."""
    kind = OutcomeKind.FAILED
    if 300 <= status < 400:
        location = headers.get("Location", "nowhere")
        error = f"{_status_line(status, reason)}: redirects are not followed; it leads to {location}"
        return Outcome(kind=kind, status_code=status, error=error)
    retryable = status >= 500 or status in _RETRYABLE_CLIENT_ERRORS
    wish = retry_after_seconds(headers.get("Retry-After"), datetime.now(UTC)) if retryable else None
    text = error_detail(body)
    error = f"{_status_line(status, reason)}: {text}" if text else _status_line(status, reason)
    return Outcome(kind=kind, status_code=status, error=error, retryable=retryable, retry_after_seconds=wish)


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """Retry-After as seconds from `now`, whether given as a number or as a date; None if it is neither."""
    value = (value or "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    moment = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def error_detail(body: str) -> str:
    """What an error body says, in words if it has the usual JSON shapes (`detail` or `error`)."""
    try:
        parsed = parse_json(body)
    except ValueError:
        return body.strip()
    detail = (parsed.get("detail") or parsed.get("error")) if isinstance(parsed, dict) else None
    if isinstance(detail, list):
        return "; ".join(_field_error(item) for item in detail)
    return detail if isinstance(detail, str) else body.strip()


def _field_error(item: Any) -> str:
    if isinstance(item, dict) and "msg" in item:
        place = item.get("loc")
        where = ".".join(str(part) for part in place) if isinstance(place, list) else ""
        return f"{where}: {item['msg']}" if where else str(item["msg"])
    return json.dumps(item)


def _status_line(status: int, reason: str) -> str:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = reason
    return f"HTTP {status} {phrase}".rstrip()
