"""Settings that decide who may do what, where requests may go, and how much one client may ask for."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode

from agentclock.config.entries import Networks
from agentclock.core.origins import read_origin


class SafetySettings(BaseSettings):
    """Without `security_key` and `jwt_*` everybody who can connect may do everything; see `allow_anyone`."""

    security_key: str | None = Field(
        default=None,
        description="Bearer tokens that open everything, separated by commas so that they can be rotated. "
        "OS_SECURITY_KEY counts as well.",
        repr=False,
    )
    jwt_secret: str | None = Field(default=None, description="Secret that JWTs are signed with (HS256).", repr=False)
    jwt_public_key: str | None = Field(
        default=None, description="Public keys for JWTs (RS256, ES256) in PEM, or the path of a file with them."
    )
    jwt_jwks: str | None = Field(default=None, description="Path or https:// URL of a JSON Web Key Set.")
    jwt_issuer: str | None = Field(default=None, description="Issuer (`iss`) that a JWT must name.")
    jwt_audience: str | None = Field(default=None, description="Audience (`aud`) that a JWT must name.")
    jwt_leeway_seconds: float = Field(
        default=10, ge=0, le=300, description="How far clocks may differ when a JWT's times are checked."
    )
    jwt_scopes_claim: str = Field(default="scopes", description="Claim with the scopes; `scope` is read as well.")
    allow_anyone: bool = Field(
        default=False,
        description="Listen on addresses that others can reach although anyone who connects may do everything.",
    )
    service_token: str | None = Field(
        default=None,
        description="Bearer token for AgentOS targets that have no credentials of their own; here it may only read. Of "
        "several, separated by commas, the first is sent.",
        repr=False,
    )
    secrets_dir: Path | None = Field(
        default=None, description="Folder whose files are secrets: the file's name is the secret's."
    )
    secrets_file: Path | None = Field(default=None, description="TOML file whose top-level texts are secrets.")
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Origins (https://host:port) that endpoints may name in full; separated by commas."
    )
    allowed_networks: Annotated[Networks, NoDecode] = Field(
        default=(),
        description="Networks (CIDR, with `:port` if only that one) that are not public but may be called by name.",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Addresses or networks of proxies whose X-Forwarded-For tells who a client is, and whose "
        "X-Forwarded-Proto whether it came over TLS.",
    )
    body_limit_bytes: int = Field(
        default=4_194_304, ge=1_024, le=104_857_600, description="Larger request bodies are refused."
    )
    header_seconds: float = Field(default=10, ge=1, le=300, description="A request's head must arrive within this.")
    body_seconds: float = Field(default=30, ge=1, le=3_600, description="A request's body must arrive within this.")
    requests_per_second: float = Field(
        default=500, ge=0, le=1_000_000, description="Requests of one client, on average; 0: no limit."
    )
    request_burst: int = Field(
        default=5_000, ge=1, le=1_000_000, description="Requests that one client may make at once."
    )
    failures_per_second: float = Field(
        default=10, ge=0, le=1_000_000, description="Requests of one client that lack valid credentials; 0: no limit."
    )
    failure_burst: int = Field(
        default=1_000, ge=1, le=1_000_000, description="Requests without credentials that one client may make at once."
    )
    streams_per_client: int = Field(default=200, ge=1, le=100_000, description="Open event streams of one client.")
    connections_per_client: int = Field(
        default=1_000, ge=1, le=100_000, description="Open connections of one client's address."
    )
    client_connections: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Open connections of all clients; open files may allow fewer."
    )
    schedules_per_owner: int | None = Field(
        default=10_000, ge=1, le=100_000_000, description="Schedules of one owner; none: any number."
    )
    trigger_max_age_seconds: int = Field(
        default=86_400,
        ge=1,
        le=31_536_000,
        description="A trigger that names an older occurrence (fire_at) is refused, unless it says max_age_seconds.",
    )

    @field_validator("allowed_origins", "allowed_networks", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part for part in map(str.strip, value.split(",")) if part) if isinstance(value, str) else value

    @field_validator("allowed_origins")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            try:
                read_origin(origin)
            except ValueError as error:
                raise ValueError(f"{origin.rpartition('@')[2]!r} {error}") from None
        return origins

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                ip_network(proxy, strict=False)
            except ValueError:
                raise ValueError(f"{proxy!r} is neither an address nor a network such as 10.0.0.0/8") from None
        return proxies
