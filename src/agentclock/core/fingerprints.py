"""Which failures are the same one, and what helps against the common kinds.

Two errors are the same if they read the same once ids, numbers, times and addresses are left out.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from agentclock.core.model import RunStatus

#: What follows is of no help in telling errors apart.
COMPARED_CHARACTERS: Final = 500

_HEX: Final = "[0-9a-fA-F]"
#: What differs from run to run, and what stands for it; in this order. Each pattern is linear.
_VARYING: Final = tuple(
    (re.compile(pattern), word)
    for pattern, word in (
        (rf"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}", "<id>"),
        (r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?)?", "<time>"),
        (r"\b[a-zA-Z][a-zA-Z0-9+.-]{0,20}://[^\s/?#'\"<>]+", "<address>"),
        (r"\b[\w.+-]{1,64}@[\w.-]{1,255}", "<address>"),
        (r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b", "<address>"),
        (r"\[[0-9a-fA-F:.]{2,45}\](?::\d{1,5})?", "<address>"),
        (r"(?<![\w.:-])\d\d?:\d\d(?::\d\d(?:[.,]\d+)?)?\b", "<time>"),
        (r"(?<![\w.-])(?:[\w-]{1,63}\.){0,8}[\w-]{1,63}:\d{2,5}\b", "<address>"),
        (rf"\b0x{_HEX}+\b", "<id>"),
        (rf"\b(?=[a-zA-Z]*\d)(?={_HEX}*[a-fA-F]){_HEX}{{8,}}\b", "<id>"),
        (r"(?<![\w-])(?=[\w-]*\d)(?=[\w-]*[a-zA-Z])[\w-]{16,}", "<id>"),
        (r"\d+(?:[.,]\d+)*", "<n>"),
        (r"\s+", " "),
    )
)

_BY_CODE: Final = {
    400: "The target does not understand the request: compare the payload with what the endpoint expects.",
    401: "The target does not know who is calling: check the credentials in the target's settings and their expiry.",
    403: "The caller is known but may not do this: give the schedule's owner, or the service token, the permission.",
    404: "Nothing is at this endpoint: check the path, and whether the agent, team or workflow still has this id.",
    405: "The endpoint does not take this method: check the schedule's method.",
    408: "The target gave up waiting for the request: it is overloaded, or something between it and us is slow.",
    409: "It clashes with what the target has already: look at what an earlier run left there.",
    413: "The payload is larger than the target accepts.",
    422: "The target refuses the payload: the message names the field.",
    429: "The target wants fewer requests: spread the schedules with jitter, or retry with exponential backoff.",
    502: "A proxy did not reach the service behind it: check whether that one runs.",
    503: "The target is overloaded or down at the moment: retries with backoff get over it.",
    504: "A proxy did not wait for the service behind it: raise its timeout, or make the work shorter.",
}
_REFUSED: Final = "Nothing listens at the target's address: check that the service runs, and its host and port."
_LATE: Final = "It took longer than it may: raise timeout_seconds (or idle_timeout_seconds), or make the work shorter."
_LOST: Final = (
    "The worker died or was cut off while it ran, so nobody knows how it ended: look for restarts and lack of memory "
    "at that time, and at what the target did, before running it again. on_lost=retry tries again by itself."
)
_TARGET_FAILED: Final = "The target failed by itself: its own log at the time of the run says why."
_BY_WORDS: Final = (
    (("connection refused", "cannot connect", "connect call failed", "accepts no connection"), _REFUSED),
    (
        ("name or service not known", "name resolution", "nodename nor servname", "no address", "getaddrinfo"),
        "The target's host name leads nowhere: check its spelling and the name server.",
    ),
    (("certificate", "ssl", "tls"), "The secure connection failed: check the target's certificate and our CA files."),
    (("timed out", "timeout", "time limit", "silent for"), _LATE),
    (("rate limit", "too many requests", "quota"), _BY_CODE[429]),
    (("unauthorized", "invalid api key", "incorrect api key", "authentication"), _BY_CODE[401]),
    (("forbidden", "permission denied", "not allowed"), _BY_CODE[403]),
    (
        ("connection reset", "broken pipe", "server disconnected", "connection lost", "connection closed"),
        "The target closed the connection in the middle: it was restarted, or a proxy cut it off.",
    ),
    (("worker that held", "lost its lease"), _LOST),
    (("context length", "maximum context", "token limit"), "The model was given more text than it takes: shorten it."),
)


def essence(error: str | None) -> str:
    """The error without what varies, in lower case; empty if there is none."""
    text = (error or "")[:COMPARED_CHARACTERS]
    for pattern, word in _VARYING:
        text = pattern.sub(word, text)
    return text.strip().lower()


def fingerprint(status: RunStatus, status_code: int | None, error: str | None) -> str:
    """16 hexadecimal digits, the same for failures of one kind, everywhere and always."""
    said = f"{status.value}|{'' if status_code is None else status_code}|{essence(error)}"
    return hashlib.blake2b(said.encode("utf-8", "replace"), digest_size=8, person=b"failure").hexdigest()


def hint(status: RunStatus, status_code: int | None, error: str | None) -> str | None:
    """What to do about a failure, one or two sentences; None for what is of no common kind."""
    if status is RunStatus.LOST:
        return _LOST
    if status is RunStatus.TIMEOUT:
        return _LATE
    if status_code is not None and status_code >= 400:
        return _BY_CODE.get(status_code) or (_TARGET_FAILED if status_code >= 500 else None)
    said = (error or "")[:COMPARED_CHARACTERS].lower()
    return next((advice for words, advice in _BY_WORDS if any(word in said for word in words)), None)
