"""What of the settings is a secret, as the log must not say it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, unquote, urlsplit

from agentclock.config import Settings
from agentclock.core.references import secret_names
from agentclock.executor.blotting import secrets_of_headers

_SECRET_OPTIONS = frozenset({"password", "sslpassword", "passfile", "sslkey"})

#: Shorter parts of a path are words.
_SHORTEST_PART = 16


def confidential(settings: Settings) -> Iterator[str]:
    """Keys, tokens, passwords, and the parts of URLs that open something. What is only named there is not among it."""
    for keys in (settings.security_key, settings.service_token):
        yield from (key.strip() for key in (keys or "").split(","))
    yield settings.jwt_secret or ""
    for url in (settings.database, settings.listen_url):
        yield from _passwords(url or "")
    for target in settings.targets.values():
        credentials = {"Authorization": f"Bearer {target.token or ''}", "Basic": target.basic_auth or ""}
        for value in secrets_of_headers({**target.headers, **credentials}):
            yield from () if secret_names(value) else (value,)
        yield (target.basic_auth or "").partition(":")[2]
    for webhook in settings.webhooks.values():
        for secret in (webhook.secret, *webhook.secrets_before):
            yield (secret or "").removeprefix("whsec_")
        yield from _path_parts(webhook.url)
    yield from _path_parts(settings.engine_ping_url or "")


def _passwords(url: str) -> Iterator[str]:
    if "://" not in url:
        return
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        return
    yield from (password or "", unquote(password or ""))
    yield from (value for name, value in parse_qsl(parts.query) if name.lower() in _SECRET_OPTIONS)


def _path_parts(url: str) -> Iterator[str]:
    path = url.partition("://")[2].partition("/")[2]
    yield from (part for part in re.split(r"[/?&=#]", path) if len(part) >= _SHORTEST_PART and not secret_names(part))
