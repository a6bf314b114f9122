"""What is named in the settings and has settings of its own: targets and webhooks."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from agentclock.core.networks import network_fault
from agentclock.core.notices import USUAL_KINDS, NoticeKind
from agentclock.core.origins import origin_of
from agentclock.core.references import secret_names
from agentclock.core.signing_keys import signing_key

NAME_LENGTH = 64


def _checked_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    """Raises ValueError."""
    if fault := next(filter(None, map(network_fault, networks)), None):
        raise ValueError(fault)
    return networks


Networks = Annotated[tuple[str, ...], AfterValidator(_checked_networks)]


class TargetKind(StrEnum):
    """What stands behind a base URL. On `agentos` the run endpoints of agents, teams and workflows are called the
    way AgentOS wants it; every other endpoint, and everything on `http`, is a plain request."""

    AGENTOS = "agentos"
    HTTP = "http"


class TargetEntry(BaseModel):
    """A named base URL. `headers` are sent with every request and never stored or shown; their values may contain
    `${secret:NAME}`, and so may `token` and `basic_auth`.

    `token`: sent as bearer token. `basic_auth`: "user:password". `networks`: networks (CIDR, with `:port` if only that
    one) that the base URL may lead into although they are not public. `secrets`: those that payloads of schedules with
    an owner may name. `tls_ca`, `tls_cert`, `tls_key`: files in PEM. `in_process`: the app that agentclock is embedded
    in, called without a network; it needs no base URL.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str = ""
    kind: TargetKind = TargetKind.AGENTOS
    headers: Mapping[str, str] = Field(default_factory=dict, repr=False)
    token: str | None = Field(default=None, repr=False)
    basic_auth: str | None = Field(default=None, repr=False)
    networks: Networks = ()
    secrets: tuple[str, ...] = ()
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_verify: bool = True
    in_process: bool = False

    @model_validator(mode="after")
    def _check_base_url(self) -> Self:
        if not self.base_url and not self.in_process:
            raise ValueError("a target needs a base_url")
        return self


class WebhookFormat(StrEnum):
    STANDARD = "standard"
    SLACK = "slack"


class WebhookEntry(BaseModel):
    """Where notices go. `url` and `secret` (for signatures: `whsec_` and base64) may contain `${secret:NAME}`.

    `secrets_before`: former secrets; signatures by these go along as long as receivers may not know the new one.
    `events`: what is told. `tags`: only of schedules that have one of these (empty: of all). `networks`: as a target's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, Field(min_length=1, repr=False)]
    secret: str | None = Field(default=None, repr=False)
    secrets_before: tuple[str, ...] = Field(default=(), repr=False)
    format: WebhookFormat = WebhookFormat.STANDARD
    events: frozenset[NoticeKind] = USUAL_KINDS
    tags: tuple[str, ...] = ()
    with_output: bool = False
    networks: Networks = ()

    @model_validator(mode="after")
    def _check_secret(self) -> Self:
        if self.format is WebhookFormat.STANDARD and not self.secret:
            raise ValueError("a webhook of format 'standard' needs a secret to sign with (whsec_ and base64)")
        # What refers to secrets shows when it is sent what it is.
        for secret in filter(None, (self.secret, *self.secrets_before)):
            if not secret_names(secret):
                signing_key(secret)
        return self

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        if not secret_names(url):
            try:
                origin_of(url)
            except ValueError as error:
                raise ValueError(f"a webhook's URL {error}") from None
        return url


class LogFormat(StrEnum):
    TEXT = "text"
    JSON = "json"
