"""The secrets of one attempt: what is put where, what is refused, and what is hidden from then on."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agentclock.core.model import OutcomeKind, Target
from agentclock.executor.blotting import HIDDEN
from agentclock.executor.discretion import IN_USE_LIMIT, Discretion
from agentclock.executor.secrecy import DiscreetTransport, Secrecy
from agentclock.executor.secrets import Secrets
from agentclock.executor.targets import TargetSettings
from agentclock.executor.transport import Answer, NotAllowed, Request

KEY, PASSWORD = "key-0011223344", "open sesame"


def environment(**secrets: str) -> dict[str, str]:
    return {f"AGENTCLOCK_SECRET_{name}": value for name, value in secrets.items()}


def secrecy(payload: Any = None, owner: str | None = None, discretion: Discretion | None = None) -> Secrecy:
    secrets = Secrets(environment=environment(KEY=KEY, PASSWORD=PASSWORD, LINES="two\nlines"))
    return Secrecy(secrets, discretion or Discretion(), Target(endpoint="/", payload=payload), owner)


def target(**fields: Any) -> TargetSettings:
    return TargetSettings(name="t", base_url="https://t.example", **fields)


async def test_credentials_are_filled_in_when_they_are_sent() -> None:
    here = secrecy()
    complete = await here.complete(
        target(headers={"X-Key": "k=${secret:KEY}"}, basic_auth="somebody:${secret:PASSWORD}")
    )
    pair = base64.b64encode(f"somebody:{PASSWORD}".encode()).decode()
    assert complete.headers == {"X-Key": f"k={KEY}", "Authorization": f"Basic {pair}"}
    assert here.blotter.text(f"{KEY} {PASSWORD} {pair} somebody") == f"{HIDDEN} {HIDDEN} {HIDDEN} somebody"
    bearer = await here.complete(target(token="${secret:KEY}"))
    assert bearer.headers == {"Authorization": f"Bearer {KEY}"}


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ({"X": "${secret:NOT_THERE}"}, "secret 'NOT_THERE' is not known: set AGENTCLOCK_SECRET_NOT_THERE"),
        ({"X": "${secret:LINES}"}, "target 't': the value of header X must be one line of Latin-1 text"),
    ],
)
async def test_what_cannot_be_sent_is_not_tried_again(headers: dict[str, str], problem: str) -> None:
    with pytest.raises(NotAllowed) as told:
        await secrecy().complete(target(headers=headers))
    outcome = told.value.outcome()
    assert (outcome.kind, outcome.retryable, outcome.error) == (OutcomeKind.FAILED, False, problem)


async def test_payloads_are_filled_in_for_those_who_may() -> None:
    payload = {"a": "${secret:KEY}"}
    assert await secrecy(payload).payload(target()) == {"a": KEY}
    assert await secrecy(payload, "alice").payload(target(secrets=("KEY",))) == {"a": KEY}
    with pytest.raises(NotAllowed, match="a schedule that has an owner may not use 'KEY'"):
        await secrecy(payload, "alice").payload(target(secrets=("PASSWORD",)))
    with pytest.raises(NotAllowed, match="secret 'OTHER' is not known"):
        await secrecy({"a": "${secret:OTHER}"}).payload(target())
    assert payload == {"a": "${secret:KEY}"}


async def test_whoever_takes_a_run_up_hides_what_it_was_started_with() -> None:
    here = secrecy({"a": ["${secret:KEY} ${secret:NOT_THERE}"]})
    await here.recall(target(token="${secret:PASSWORD}"))
    assert here.blotter.text(f"{KEY} {PASSWORD}") == f"{HIDDEN} {HIDDEN}"


async def test_the_process_knows_what_is_in_use() -> None:
    discretion = Discretion(known=["security-key"])
    assert discretion.text(f"security-key {KEY}") == f"{HIDDEN} {KEY}"
    await secrecy({"a": "${secret:KEY}"}, discretion=discretion).payload(target())
    assert discretion.text(f"security-key {KEY}") == f"{HIDDEN} {HIDDEN}"


def test_the_process_forgets_what_was_used_long_ago_and_never_what_it_knows() -> None:
    discretion = Discretion(known=["security-key"])
    for number in range(IN_USE_LIMIT + 1):
        discretion.use([f"secret-number-{number:06}"])
    assert discretion.text("security-key secret-number-000000 secret-number-000001") == (
        f"{HIDDEN} secret-number-000000 {HIDDEN}"
    )


async def test_requests_carry_secrets_that_their_senders_do_not_know() -> None:
    sent: list[TargetSettings] = []

    class Inner:
        @asynccontextmanager
        async def send(self, target: TargetSettings, request: Request) -> AsyncIterator[Answer]:
            sent.append(target)
            raise RuntimeError("sent")
            yield

        async def close(self) -> None: ...

    transport, here = DiscreetTransport(Inner(), secrecy()), target(token="${secret:KEY}")
    with pytest.raises(RuntimeError, match="sent"):
        async with transport.send(here, Request(method="GET", url=here.url_for("/"))):
            pass
    assert sent[0].headers == {"Authorization": f"Bearer {KEY}"}
    assert here.headers == {}
