"""Who is asking: security keys, JSON Web Tokens, and what they allow."""

from agentclock.auth.access import Authenticator, Identity, KeyHolder, Service
from agentclock.auth.claims import TokenClaims
from agentclock.auth.fetching import fetcher
from agentclock.auth.keys import KEY_HOLDER, SERVICE
from agentclock.auth.refusals import Refusal, RefusalLog, TokenRefused
from agentclock.auth.setup import check, is_configured, make_authenticator, problems
from agentclock.auth.sources import Fetch

__all__ = [
    "KEY_HOLDER",
    "SERVICE",
    "Authenticator",
    "Fetch",
    "Identity",
    "KeyHolder",
    "Refusal",
    "RefusalLog",
    "Service",
    "TokenClaims",
    "TokenRefused",
    "check",
    "fetcher",
    "is_configured",
    "make_authenticator",
    "problems",
]
