"""Signatures of messages: what others sign we verify, what we sign others verify, and nothing else passes."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook

from agentclock.webhooks import InvalidMessage, verify
from agentclock.webhooks.signing import signature_headers

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()
BODY = json.dumps({"type": "run.failed", "data": {"name": "Grüße"}}, ensure_ascii=False).encode()
NOW = 1_767_225_600


def headers(*secrets: str, at: int = NOW, body: bytes = BODY) -> dict[str, str]:
    return signature_headers(secrets or (SECRET,), "msg-1", at, body)


def test_the_example_of_the_specification() -> None:
    secret, message_id = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek"
    signed = signature_headers([secret], message_id, 1614265330, b'{"test": 2432232314}')
    assert signed["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_other_libraries_verify_what_we_sign() -> None:
    signed = headers(SECRET, OTHER, at=int(time.time()))
    for secret in (SECRET, OTHER):
        assert Webhook(secret).verify(BODY, signed) == json.loads(BODY)


def test_we_verify_what_other_libraries_sign() -> None:
    at = datetime.now(UTC)
    signature = Webhook(SECRET).sign("msg-1", at, BODY.decode())
    signed = {
        "Webhook-Id": "msg-1",
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": f"v1a,abc {signature}",
    }
    assert verify(SECRET, signed, BODY) == json.loads(BODY)


def test_a_receiver_in_the_midst_of_a_rotation() -> None:
    assert verify(OTHER, headers(SECRET, OTHER), BODY, now=NOW)["type"] == "run.failed"
    assert verify([OTHER, SECRET], headers(SECRET), BODY.decode(), now=NOW)["type"] == "run.failed"


@pytest.mark.parametrize("off", [-301, 301, -86_400])
def test_the_tolerance(off: int) -> None:
    with pytest.raises(InvalidMessage, match=r"too old|future"):
        verify(SECRET, headers(), BODY, now=NOW + off)
    assert verify(SECRET, headers(), BODY, now=NOW + off, tolerance_seconds=abs(off))


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(InvalidMessage, match=name):
        verify(SECRET, {other: value for other, value in headers().items() if other != name}, BODY, now=NOW)


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-id": "msg-2"},
        {"webhook-timestamp": str(NOW + 1)},
        {"webhook-timestamp": "1e9"},
        {"webhook-timestamp": "١٧٦٧٢٢٥٦٠٠"},
        {"webhook-timestamp": "9" * 400},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {"webhook-signature": "v1,\udcff"},
    ],
)
def test_what_was_changed_is_refused(changed: dict[str, str]) -> None:
    with pytest.raises(InvalidMessage):
        verify(SECRET, headers() | changed, BODY, now=NOW)


def test_another_body_or_another_secret_is_refused() -> None:
    with pytest.raises(InvalidMessage, match="no signature fits"):
        verify(SECRET, headers(), BODY + b" ", now=NOW)
    with pytest.raises(InvalidMessage, match="no signature fits"):
        verify(OTHER, headers(), BODY, now=NOW)
    with pytest.raises(InvalidMessage, match="no signature fits"):
        verify([], headers(), BODY, now=NOW)


def test_a_signed_body_that_is_no_object_is_refused() -> None:
    for body in (b"[]", b"{", b"\xff"):
        with pytest.raises(InvalidMessage, match="JSON"):
            verify(SECRET, headers(body=body), body, now=NOW)


@pytest.mark.parametrize("secret", ["whsec_", "", "whsec_***", "päss"])
def test_what_is_no_secret_is_not_repeated(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_ and base64") as caught:
        verify(secret, headers(), BODY, now=NOW)
    assert not secret.removeprefix("whsec_") or secret.removeprefix("whsec_") not in str(caught.value)
