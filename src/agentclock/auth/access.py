"""Whose token it is that came with a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from agentclock.auth.claims import TokenClaims
from agentclock.auth.keys import SharedKeys
from agentclock.auth.refusals import Refusal, TokenRefused
from agentclock.auth.tokens import TOKEN_BYTES, TokenReader


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """Somebody with a security key: may do everything."""


@dataclass(frozen=True, slots=True)
class Service:
    """Somebody with the token that our own requests carry."""


Identity: TypeAlias = KeyHolder | Service | TokenClaims


class Authenticator:
    """A token that is a security key is that, whatever else it looks like; then comes the service token; everything
    else must be a JSON Web Token, if there are keys for such (`reader`)."""

    def __init__(
        self, *, security_keys: SharedKeys, service_tokens: SharedKeys, reader: TokenReader | None = None
    ) -> None:
        self._security_keys = security_keys
        self._service_tokens = service_tokens
        self._reader = reader

    @property
    def knows_keys(self) -> bool:
        return bool(self._security_keys)

    @property
    def reads_tokens(self) -> bool:
        return self._reader is not None

    async def identify(self, token: bytes) -> Identity:
        """Raises TokenRefused, Unavailable."""
        if len(token) > TOKEN_BYTES:
            raise TokenRefused(Refusal.TOO_LARGE)
        is_key, is_service = self._security_keys.has(token), self._service_tokens.has(token)
        if is_key:
            return KeyHolder()
        if is_service:
            return Service()
        if self._reader is None:
            raise TokenRefused(Refusal.UNKNOWN)
        return await self._reader.read(token)
