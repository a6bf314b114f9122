"""What a ping URL may look like, and where a ping goes: in the manner of healthchecks."""

from __future__ import annotations

from enum import StrEnum
from typing import Final
from urllib.parse import SplitResult, urlencode, urlsplit

from agentclock.core.origins import origin_of

PING_URL_LENGTH: Final = 1024


class PingKind(StrEnum):
    """What a ping says: a run began, it ended well, or it did not."""

    START = "start"
    SUCCESS = "success"
    FAIL = "fail"


def ping_url_fault(text: str) -> str | None:
    """Why nothing can be pinged there, or None."""
    if len(text) > PING_URL_LENGTH:
        return f"must have at most {PING_URL_LENGTH:,} characters"
    if any(char.isspace() or not char.isprintable() for char in text):
        return "must not contain blanks or control characters"
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is not a URL that can be read"
    if parts.scheme not in ("http", "https") or not host:
        return "must be an absolute URL that begins with http:// or https://"
    return _unwelcome(text, parts.netloc)


def _unwelcome(text: str, authority: str) -> str | None:
    """What a ping URL must not have, or None."""
    if "@" in authority:
        return "must not contain a user name or a password: everybody who may read schedules could read them"
    if "#" in text:
        return "must not have a fragment ('#')"
    try:
        origin_of(text)
    except ValueError as error:
        return str(error)
    return None


def ping_host(url: str) -> str:
    """What may be shown of a ping URL: its path is the secret by which it works."""
    try:
        return urlsplit(url).hostname or "?"
    except ValueError:
        return "?"


def ping_target(url: str, kind: PingKind, run_id: str | None = None) -> str:
    """Where a ping of this kind goes. The path grows by /start or /fail, the query stays and grows by `rid`, which
    tells overlapping runs apart."""
    parts = urlsplit(url)
    path = parts.path if kind is PingKind.SUCCESS else f"{parts.path.rstrip('/')}/{kind.value}"
    added = urlencode({"rid": run_id}) if run_id else ""
    query = "&".join(filter(None, (parts.query, added)))
    return SplitResult(parts.scheme, parts.netloc, path, query, "").geturl()
