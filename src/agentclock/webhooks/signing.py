"""Signatures of messages, by the Standard Webhooks specification (https://www.standardwebhooks.com), both ways."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from agentclock.core.signing_keys import signing_key

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"

#: A header with more signatures than this is nothing that a sender makes.
_MOST_SIGNATURES: Final = 20
_LONGEST_TIMESTAMP: Final = 12


class InvalidMessage(ValueError):
    """The message is not from who it says it is, was changed on its way, or is too old: answer 400 and do nothing."""


def signature_headers(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """What goes along with `body`: a signature by each of `secrets`, so that receivers with an older one go on.

    `timestamp`: seconds since the epoch. Raises ValueError for what is no secret; the message does not contain it.
    """
    signatures = [f"v1,{_digest(signing_key(secret), message_id, str(timestamp), body)}" for secret in secrets]
    return {
        ID_HEADER: message_id,
        TIMESTAMP_HEADER: str(timestamp),
        SIGNATURE_HEADER: " ".join(signatures),
    }


def verify(
    secret: str | Sequence[str],
    headers: Mapping[str, str],
    body: bytes | str,
    *,
    tolerance_seconds: float = 300,
    now: float | None = None,
) -> dict[str, Any]:
    """What a message says, once it is certain that a holder of `secret` (or of one of several) sent it.

    `headers`: in any case; `body`: as it came, before anything parsed it. A message whose timestamp is further than
    `tolerance_seconds` from `now` (seconds since the epoch, the present if not given) is refused. The same message may
    come twice: remember its `webhook-id` for as long, and longer if a retry must not be acted on again.

    Raises InvalidMessage; ValueError for what is no secret.
    """
    found = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, timestamp, signatures = (found[name] for name in (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER))
    except KeyError as error:
        raise InvalidMessage(f"header {error} is missing") from None
    _check_time(timestamp, tolerance_seconds, time.time() if now is None else now)
    content = body.encode("utf-8", "surrogateescape") if isinstance(body, str) else bytes(body)
    secrets = [secret] if isinstance(secret, str) else list(secret)
    wanted = [_digest(signing_key(one), message_id, timestamp, content) for one in secrets]
    if not _is_among(signatures, wanted):
        raise InvalidMessage("no signature fits: the secret is another one, or the message was changed")
    return _read(content)


def _check_time(timestamp: str, tolerance_seconds: float, now: float) -> None:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _LONGEST_TIMESTAMP):
        raise InvalidMessage(f"header '{TIMESTAMP_HEADER}' is no number of seconds")
    age = now - int(timestamp)
    if age > tolerance_seconds:
        raise InvalidMessage("the message is too old")
    if age < -tolerance_seconds:
        raise InvalidMessage("the message is from the future: is the clock of this machine right?")


def _is_among(signatures: str, wanted: Sequence[str]) -> bool:
    """Takes the same time whether one fits or not."""
    given = [value for version, _, value in (one.partition(",") for one in signatures.split(" ")) if version == "v1"]
    found = False
    for value in given[:_MOST_SIGNATURES]:
        for digest in wanted:
            found |= hmac.compare_digest(value.encode("utf-8", "replace"), digest.encode())
    return found


def _read(content: bytes) -> dict[str, Any]:
    try:
        message = json.loads(content)
    except ValueError as error:
        raise InvalidMessage(f"the body is not JSON: {error}") from None
    if not isinstance(message, dict):
        raise InvalidMessage("the body is not a JSON object")
    return message


def _digest(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    content = b".".join((message_id.encode("utf-8", "replace"), timestamp.encode(), body))
    return base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
