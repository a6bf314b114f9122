"""From a notice to the message that a receiver gets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from agentclock.config import WebhookFormat
from agentclock.core.instants import iso_utc
from agentclock.core.model import Instant, Json
from agentclock.core.notices import Notice
from agentclock.webhooks.signing import signature_headers
from agentclock.webhooks.slack import slack_body

#: The type of a message that somebody sends to see whether it arrives.
PING = "ping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """`id` is the same at every try; `told_at`: when what it tells happened."""

    id: str
    type: str
    told_at: Instant
    data: Json = field(default=None, repr=False)


def message_of(notice: Notice, public_url: str | None) -> Message:
    """With the address of what it tells of, if it is known where this server is reached."""
    data = notice.data
    if public_url is not None and isinstance(data, dict):
        where = f"{public_url.rstrip('/')}/schedules/{quote(notice.schedule_id, safe='')}"
        data = data | {"schedule": _with_url(data.get("schedule"), where)}
        if notice.run_id is not None:
            data |= {"run": _with_url(data.get("run"), f"{where}/runs/{notice.run_id}")}
    return Message(id=notice.id, type=notice.kind.value, told_at=notice.created_at, data=data)


def ping_message(message_id: str, webhook: str, now: Instant) -> Message:
    return Message(id=message_id, type=PING, told_at=now, data={"webhook": webhook})


def written(message: Message, form: WebhookFormat) -> bytes:
    """The body, as it is sent and signed."""
    match form:
        case WebhookFormat.SLACK:
            content = slack_body(message.type, message.data)
        case WebhookFormat.STANDARD:
            content = {"type": message.type, "timestamp": iso_utc(message.told_at), "data": message.data}
    return json.dumps(content, separators=(",", ":")).encode()


def headers_of(message: Message, body: bytes, secrets: Sequence[str], now: Instant) -> dict[str, str]:
    """`now`: when this try is made. Raises ValueError for what is no secret."""
    signatures = signature_headers(secrets, message.id, now // 1000, body) if secrets else {}
    return {"Content-Type": "application/json", "User-Agent": "agentclock", **signatures}


def _with_url(part: Json, url: str) -> Json:
    return part | {"url": url} if isinstance(part, dict) else part
