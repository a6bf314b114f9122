"""From what a target answers to an `Outcome`, and texts that are fit to be stored. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

from agentclock.core.model import Json, Outcome, OutcomeKind

ERROR_TEXT_LIMIT: Final = 2000

#: Deeper nesting than any answer needs, and less than what JSON writers choke on.
DEPTH_LIMIT: Final = 64

#: Shorter header values are no secrets, and blotting them out would make every text unreadable.
_SHORTEST_SECRET: Final = 4

_RETRYABLE_CLIENT_ERRORS: Final = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Blotter:
    """Makes texts and JSON of a target fit to be stored: no header value of ours, nothing a database refuses."""

    secrets: tuple[str, ...] = ()

    @classmethod
    def for_headers(cls, headers: Mapping[str, str]) -> Blotter:
        """Hides the whole values and, for "Bearer x" and the like, x alone; as they are and as JSON writes them."""
        words = {word for value in headers.values() for word in (value, value.rpartition(" ")[2])}
        words |= {json.dumps(word)[1:-1] for word in words}
        secrets = (word for word in words if len(word) >= _SHORTEST_SECRET)
        return cls(tuple(sorted(secrets, key=len, reverse=True)))

    def hides(self, text: str) -> bool:
        """Whether there is anything in `text` that must not be stored."""
        return any(secret in text for secret in self.secrets)

    def text(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "[hidden]")
        # PostgreSQL stores no NUL, UTF-8 no lone surrogate.
        return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()

    def error(self, text: str) -> str:
        clean = self.text(text).strip()
        return clean if len(clean) <= ERROR_TEXT_LIMIT else clean[: ERROR_TEXT_LIMIT - 1] + "…"

    def json(self, value: Json, depth: int = 0) -> Json:
        match value:
            case str():
                return self.text(value)
            case dict() | list() if depth >= DEPTH_LIMIT:
                return "[nested too deep]"
            case dict():
                return {self.text(str(key)): self.json(item, depth + 1) for key, item in value.items()}
            case list():
                return [self.json(item, depth + 1) for item in value]
            case float() if not math.isfinite(value):
                return str(value)
            case _:
                return value


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
