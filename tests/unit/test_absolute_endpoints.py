"""Endpoints that name their host themselves: for which origins, for whom, and how they are read."""

from __future__ import annotations

import pytest
from tests.apis import DRAFT, world

from agentclock.config import Settings
from agentclock.core.errors import ConfigError, InvalidField
from agentclock.core.model import Target
from agentclock.core.scopes import ADMIN, permits, scope_to_call
from agentclock.scheduler import Scheduler

ORIGINS = ("https://hooks.example", "http://10.0.0.1:8000", "https://bücher.example:8443/")


@pytest.mark.parametrize(
    ("endpoint", "is_allowed"),
    [
        ("https://hooks.example", True),
        ("https://hooks.example:443/x?y=1", True),
        ("HTTPS://Hooks.Example/x", True),
        ("http://10.0.0.1:8000/agents/a/runs", True),
        ("https://xn--bcher-kva.example:8443/x", True),
        ("https://BÜCHER.example:8443/x", True),
        ("http://hooks.example/x", False),
        ("https://hooks.example:444/x", False),
        ("https://hooks.example./x", False),
        ("https://x.hooks.example/x", False),
        ("https://hooks.example.evil.test/x", False),
        ("https://evil.test/https://hooks.example/", False),
        ("https://hooks.example@evil.test/", False),
        ("https://evil.test?https://hooks.example", False),
        ("http://10.0.0.1/x", False),
        ("http://167772161:8000/x", False),
        ("http://[::ffff:10.0.0.1]:8000/x", False),
        ("https://bücher.example/x", False),
    ],
)
async def test_only_origins_of_the_settings_may_be_named(endpoint: str, is_allowed: bool) -> None:
    async with world() as here:
        scheduler = Scheduler(
            here.store, clock=here.clock, wakeup=lambda: None, engine_state=lambda: here.engine, origins=ORIGINS
        )
        plain = await here.create(name="plain")
        if is_allowed:
            assert (await scheduler.create(DRAFT | {"endpoint": endpoint})).target.endpoint == endpoint
            assert (await scheduler.change(plain, {"endpoint": endpoint})).target.component is None
            return
        for refused in (
            scheduler.create(DRAFT | {"endpoint": endpoint}),
            scheduler.change(plain, {"endpoint": endpoint}),
        ):
            with pytest.raises(InvalidField, match=r"^endpoint: ") as caught:
                await refused
            assert "AGENTCLOCK_ALLOWED_ORIGINS" in str(caught.value) or "must" in str(caught.value).lower()
        assert (await scheduler.get(plain)).target.endpoint == DRAFT["endpoint"]


async def test_without_the_setting_there_are_none() -> None:
    async with world() as here:
        with pytest.raises(InvalidField, match="AGENTCLOCK_ALLOWED_ORIGINS"):
            await here.scheduler.create(DRAFT | {"endpoint": "https://hooks.example/x"})


def test_they_are_for_admins() -> None:
    for endpoint in ("https://hooks.example/agents/a/runs", "https://hooks.example/x"):
        wanted = scope_to_call(Target(endpoint=endpoint), is_agentos=True)
        assert permits([ADMIN], wanted)
        assert not permits(["agents:*:run", "agents:run", "targets:*:call", "targets:call", "schedules:write"], wanted)


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("allowed_origins", "https://a.example/x", "must end after the host or the port"),
        ("allowed_origins", "a.example", "must begin with http"),
        ("allowed_origins", "https://a.example, https://me:pw@b.example", "'b.example' must not contain a user name"),
        ("allowed_origins", "*", "must begin with http"),
        ("allowed_networks", "10.0.0.1/8", "the network is 10.0.0.0/8"),
        ("allowed_networks", "10.0.0.0/8,private", "'private' is not a network such as 10.0.0.0/8"),
        ("targets", {"a": {"base_url": "http://a", "networks": ["fd00::/8:443"]}}, r"\[fd00::/8\]:443"),
        ("webhooks", {"a": {"url": "https://a", "secret": "whsec_x", "networks": ["x"]}}, "'x' is not a network"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_read_are_named(setting: str, value: object, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        Settings.load(**{setting: value})
    assert f"AGENTCLOCK_{setting.upper()}" in str(caught.value)


def test_settings_that_are_read() -> None:
    made = Settings.load(
        allowed_origins="https://a.example, http://b:81/", allowed_networks="10.0.0.0/8, [fd00::/8]:443"
    )
    assert made.allowed_origins == ("https://a.example", "http://b:81/")
    assert made.allowed_networks == ("10.0.0.0/8", "[fd00::/8]:443")
