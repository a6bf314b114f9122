"""Who is sent the service token: AgentOS targets without credentials of their own, at their base URL; nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from agentclock.app import assemble
from agentclock.config import Settings
from agentclock.testing import FakeAgentOS

TOKEN = "the-service-token"

#: What each target is, and what it is sent as credentials.
TARGETS: dict[str, tuple[dict[str, Any], str | None]] = {
    "agentos": ({}, f"Bearer {TOKEN}"),
    "with a token": ({"token": "its-own"}, "Bearer its-own"),
    "with a password": ({"basic_auth": "ada:secret"}, "Basic YWRhOnNlY3JldA=="),
    "with a header": ({"headers": {"authorization": "Bearer of-its-own"}}, "Bearer of-its-own"),
    "http": ({"kind": "http"}, None),
}


@pytest.mark.parametrize("name", TARGETS)
async def test_it_goes_to_agentos_targets_without_credentials(name: str) -> None:
    entry, expected = TARGETS[name]
    assert await sent_credentials(entry, "/agents/greeter/runs") == {expected}
    assert await sent_credentials(entry, "/anything") == {expected}


async def test_it_never_goes_to_an_endpoint_that_is_a_url() -> None:
    assert await sent_credentials({}, "{base_url}/anything") == {None}


async def sent_credentials(entry: dict[str, Any], endpoint: str) -> set[str | None]:
    """The Authorization headers of all requests that one run sends."""
    async with FakeAgentOS() as fake:
        settings = Settings(
            database=":memory:",
            targets={"default": {"base_url": fake.base_url, **entry}},
            allowed_origins=(fake.base_url,),
            allowed_networks=("127.0.0.0/8",),
            service_token=f"{TOKEN},a-former-one",
        )
        clockwork = assemble(settings)
        await clockwork.start()
        try:
            draft = {"name": "one", "endpoint": endpoint.format(base_url=fake.base_url)}
            schedule = await clockwork.scheduler.create(draft)
            run = (await clockwork.scheduler.trigger(schedule.id, wait_seconds=20)).run
            assert (run.status, run.error) == ("success", None)
        finally:
            await clockwork.stop()
        return {call.headers.get("Authorization") for call in fake.calls}
