"""What comes of trying to deliver a message, and what does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit

from agentclock.webhooks.messages import Message

_GONE: Final = 410


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one try. `status_code` None: nothing was answered. `error` None: the message arrived."""

    status_code: int | None = None
    error: str | None = None
    retry_after_seconds: float | None = None

    @property
    def has_arrived(self) -> bool:
        return self.error is None

    @property
    def is_gone(self) -> bool:
        """The receiver wants to hear no more."""
        return self.status_code == _GONE


class Post(Protocol):
    """Makes one try. Real: Poster.post."""

    async def __call__(self, webhook: str, message: Message) -> Answer: ...


def host_of(url: str) -> str | None:
    """The part of a URL that is no secret; None where it is filled in later, or unreadable."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return None
    return None if host is None or "$" in host else host
