"""From the settings to an authenticator; and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from agentclock.auth.access import Authenticator
from agentclock.auth.claims import Expected
from agentclock.auth.jwks import read_key_set
from agentclock.auth.keys import SharedKeys, split_keys
from agentclock.auth.sources import Fetch, FixedKeys, KeyFile, KeySource, PublishedKeys
from agentclock.auth.tokens import TokenReader
from agentclock.auth.verification import read_pem, shared_secret
from agentclock.config.safety import SafetySettings
from agentclock.core.errors import ConfigError
from agentclock.core.origins import origin_of
from agentclock.ports import Clock

SECRET_BYTES: Final = 32
_TOKEN_BYTES: Final = 4_096
_KEY_SETTINGS: Final = ("jwt_secret", "jwt_public_key", "jwt_jwks")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

_T = TypeVar("_T")


def is_configured(settings: SafetySettings) -> bool:
    """Whether anybody has to show a token. The service token alone asks for none: it is for our own requests."""
    return settings.security_key is not None or any(getattr(settings, name) is not None for name in _KEY_SETTINGS)


def problems(settings: SafetySettings) -> list[str]:
    """What keeps the settings from being used, one sentence each; files that they name are looked at."""
    setup = _Setup(settings)
    setup.sources(None, None)
    return [*_shared_problems(settings), *_claims_problems(settings), *setup.problems]


def check(settings: SafetySettings) -> None:
    """Raises ConfigError with every problem."""
    if faults := problems(settings):
        raise ConfigError(faults)


def make_authenticator(settings: SafetySettings, *, clock: Clock, fetch: Fetch) -> Authenticator:
    """`fetch`: how a published key set is got. Raises ConfigError with every problem."""
    setup = _Setup(settings)
    sources = setup.sources(fetch, clock)
    if faults := [*_shared_problems(settings), *_claims_problems(settings), *setup.problems]:
        raise ConfigError(faults)
    reader = None
    if settings.jwt_issuer is not None and settings.jwt_audience is not None and sources:
        expected = Expected(
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            leeway_seconds=settings.jwt_leeway_seconds,
            scopes_claim=settings.jwt_scopes_claim,
        )
        reader = TokenReader(sources, expected, clock)
    return Authenticator(
        security_keys=SharedKeys(_shared(settings)["security_key"]),
        service_tokens=SharedKeys(_shared(settings)["service_token"]),
        reader=reader,
    )


def _shared_problems(settings: SafetySettings) -> list[str]:
    found, shared = [], _shared(settings)
    for name, keys in shared.items():
        if getattr(settings, name) is not None and not keys:
            found.append(f"{name}: it is empty; unset it, or set it to what bearers are to have")
        if any(not key.isascii() or not key.isprintable() or " " in key or len(key) > _TOKEN_BYTES for key in keys):
            found.append(f"{name}: a bearer token has at most {_TOKEN_BYTES:,} characters of ASCII without blanks")
    if {*shared["service_token"]} & {*shared["security_key"]}:
        found.append("service_token: it must differ from every security_key, or it would open everything")
    return found


def _shared(settings: SafetySettings) -> dict[str, tuple[str, ...]]:
    """Several of each are good, so that they can be replaced. Of service tokens the first is the one that we send."""
    return {name: split_keys(getattr(settings, name)) for name in ("security_key", "service_token")}


def _claims_problems(settings: SafetySettings) -> list[str]:
    keys = [name for name in _KEY_SETTINGS if getattr(settings, name) is not None]
    demanded = {
        "jwt_issuer": ("the issuer (iss) that tokens must name", settings.jwt_issuer),
        "jwt_audience": ("the audience (aud) that tokens must name", settings.jwt_audience),
    }
    found = [f"{name}: {keys[0]} needs it: {what}" for name, (what, text) in demanded.items() if keys and not text]
    given = [name for name, (_, text) in demanded.items() if text is not None]
    if given and not keys:
        found.append(f"{given[0]}: without {', '.join(_KEY_SETTINGS[:-1])} or {_KEY_SETTINGS[-1]} no token is accepted")
    if not settings.jwt_scopes_claim:
        found.append("jwt_scopes_claim: it is empty; name the claim with the scopes")
    return found


@dataclass(slots=True)
class _Setup:
    """Makes what the settings name, and remembers what is wrong with it."""

    settings: SafetySettings
    problems: list[str] = field(default_factory=list)

    def sources(self, fetch: Fetch | None, clock: Clock | None) -> list[KeySource]:
        """Without `fetch` and `clock` a published key set is checked for its address only."""
        settings = self.settings
        made: list[KeySource | None] = []
        if settings.jwt_secret is not None:
            made.append(self._tried("jwt_secret", settings.jwt_secret, _secret))
        if settings.jwt_public_key is not None:
            made.append(self._tried("jwt_public_key", settings.jwt_public_key, _public_keys))
        if settings.jwt_jwks is not None and "://" not in settings.jwt_jwks:
            made.append(self._tried("jwt_jwks", settings.jwt_jwks, _key_set_file))
        elif settings.jwt_jwks is not None:
            url = self._tried("jwt_jwks", settings.jwt_jwks, _checked_url)
            if url is not None and fetch is not None and clock is not None:
                made.append(PublishedKeys(url, fetch, clock))
        return [source for source in made if source is not None]

    def _tried(self, name: str, text: str, make: Callable[[str], _T]) -> _T | None:
        try:
            return make(text)
        except OSError as error:
            self.problems.append(f"{name}: the file cannot be read: {error.strerror or type(error).__name__}")
        except ValueError as error:
            self.problems.append(f"{name}: {error}")
        return None


def _secret(text: str) -> KeySource:
    if "-----BEGIN" in text:
        raise ValueError("that is no secret but a key in PEM: public keys go into jwt_public_key")
    if len(text.encode()) < SECRET_BYTES:
        raise ValueError(
            f"it has {len(text.encode())} bytes, too few for HS256: take {SECRET_BYTES} or more, made by "
            '`python -c "import secrets; print(secrets.token_urlsafe(48))"`'
        )
    return FixedKeys((shared_secret(text),))


def _public_keys(text: str) -> KeySource:
    if "-----BEGIN" in text:
        return FixedKeys(read_pem(text))
    return KeyFile(_path(text), lambda content: read_pem(content.decode()))


def _key_set_file(text: str) -> KeySource:
    return KeyFile(_path(text), read_key_set)


def _path(text: str) -> Path:
    if not text.strip() or "\n" in text or "\0" in text:
        raise ValueError("it names no file")
    return Path(text)


def _checked_url(url: str) -> str:
    try:
        origin = origin_of(url)
    except ValueError as error:
        raise ValueError(f"the address {error}") from None
    if origin.scheme != "https" and origin.host not in _LOOPBACK:
        raise ValueError("keys are fetched over https:// only (http:// from this machine itself)")
    return url
