"""Who is let in where agentclock is a server of its own."""

from __future__ import annotations

from urllib.parse import urlsplit

import aiohttp
from fastapi import FastAPI

from agentclock.api import Guard, OpenGuard, OwnPagesOnly, TokenGuard
from agentclock.app.clockwork import Clockwork
from agentclock.auth import RefusalLog, fetcher, is_configured, make_authenticator
from agentclock.config import Settings, TargetKind
from agentclock.executor.perimeter import Rules, guarded_session

_KEY_SET_TIMEOUT = aiohttp.ClientTimeout(total=10)


def make_guard(clockwork: Clockwork) -> Guard:
    """By `security_key`, `jwt_*` and `service_token`; without the first two everybody may do everything.

    Raises ConfigError with every problem of these settings.
    """
    settings, clock = clockwork.settings, clockwork.clock
    authenticator = make_authenticator(settings, clock=clock, fetch=fetcher(lambda: _key_set_session(settings)))
    if not is_configured(settings):
        return OpenGuard()
    return TokenGuard(
        authenticator,
        agentos_targets=[name for name, target in settings.targets.items() if target.kind is TargetKind.AGENTOS],
        seen=clockwork.scheduler.owners.seen,
        log=RefusalLog(clock),
    )


def keep_strangers_out(app: FastAPI, settings: Settings) -> None:
    """Where nobody is asked for a token, pages of other sites that a browser shows have no say. Where anyone may come
    it is not known by which names."""
    if is_configured(settings):
        return
    public = urlsplit(settings.public_url or "").hostname
    names = [name for name in (settings.host, public) if name]
    app.add_middleware(OwnPagesOnly, names=None if settings.allow_anyone else names)


def _key_set_session(settings: Settings) -> aiohttp.ClientSession:
    rules = Rules.for_url(settings.jwt_jwks or "", networks=settings.allowed_networks)
    return guarded_session(rules, timeout=_KEY_SET_TIMEOUT)
