"""What is called: named base URLs, and endpoints that can never lead away from them. How a connection to one is
checked is the perimeter's business."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote

from yarl import URL

from agentclock.core.networks import literal_fault, network_fault
from agentclock.core.origins import Origin, origin_of
from agentclock.executor.perimeter import ALLOWED_NETWORKS, Rules
from agentclock.executor.tls import Tls

#: What a target in our own process is called by, if it has no base URL: no request to it uses a network. Apps that
#: check the host they are called by (TrustedHostMiddleware) mostly know this one.
IN_PROCESS_URL: Final = "http://127.0.0.1"

#: Headers that belong to the connection or to the request that agentclock builds.
RESERVED_HEADERS: Final = frozenset(
    {"accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "host"}
    | {"idempotency-key", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer"}
    | {"transfer-encoding", "upgrade", "x-schedule-owner"}
)

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_AUTHORITY: Final = re.compile(r"(?s)(?:[^/?#]*//)?([^/?#]*).*")
_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f\\#]")


class TargetLike(Protocol):
    """What configuration says of a target that it knows by name."""

    @property
    def base_url(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def token(self) -> str | None: ...

    @property
    def basic_auth(self) -> str | None: ...

    @property
    def networks(self) -> tuple[str, ...]: ...

    @property
    def secrets(self) -> tuple[str, ...]: ...

    @property
    def tls_ca(self) -> Path | None: ...

    @property
    def tls_cert(self) -> Path | None: ...

    @property
    def tls_key(self) -> Path | None: ...

    @property
    def tls_verify(self) -> bool: ...

    @property
    def in_process(self) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSettings:
    """One target by name. `headers`, `token` and `basic_auth` go with every request to it, and are secret: they are
    never stored or logged. They may hold names of secrets; `complete` puts the secrets there.

    `kind` agentos: run endpoints are followed as agent runs; http: every endpoint is one request, one answer.
    `networks`: may be connected to although they are not public. `secrets`: what payloads of owners may name.
    `is_origin`: an origin that endpoints name in full; the base URL is that, and endpoints begin with it.
    `in_process`: the app that hosts us, called without a network; its base URL says only what the app sees as its own
    scheme, host and path prefix. `hidden`: texts to hide besides the values of the headers.
    """

    name: str
    base_url: str = IN_PROCESS_URL
    kind: str = "agentos"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    token: str | None = field(default=None, repr=False)
    basic_auth: str | None = field(default=None, repr=False)
    networks: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    tls: Tls = field(default_factory=Tls)
    is_origin: bool = False
    in_process: bool = False
    hidden: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def named(cls, name: str, target: TargetLike, networks: Iterable[str] = ()) -> TargetSettings:
        """`networks`: what every target may connect to."""
        return cls(
            name=name,
            base_url=target.base_url or (IN_PROCESS_URL if target.in_process else ""),
            kind=str(target.kind),
            headers=dict(target.headers),
            token=target.token,
            basic_auth=target.basic_auth,
            networks=(*target.networks, *networks),
            secrets=tuple(target.secrets),
            tls=Tls(ca=target.tls_ca, cert=target.tls_cert, key=target.tls_key, verify=target.tls_verify),
            in_process=target.in_process,
        )

    @classmethod
    def for_origin(cls, origin: Origin, networks: Iterable[str] = ()) -> TargetSettings:
        """Endpoints that name this origin in full: no headers, no credentials, one request, one answer."""
        url = str(origin)
        return cls(name=url, base_url=url, kind="http", networks=tuple(networks), is_origin=True)

    @property
    def tls_ca(self) -> Path | None:
        return self.tls.ca

    @property
    def tls_cert(self) -> Path | None:
        return self.tls.cert

    @property
    def tls_key(self) -> Path | None:
        return self.tls.key

    @property
    def tls_verify(self) -> bool:
        return self.tls.verify

    @property
    def has_credentials(self) -> bool:
        """Of its own, whoever would lend it some."""
        return bool(self.token or self.basic_auth) or any(name.lower() == "authorization" for name in self.headers)

    @property
    def rules(self) -> Rules:
        """What requests to it may connect to. Raises ValueError if there are `problems`."""
        advice = ALLOWED_NETWORKS if self.is_origin else f"the target's `networks` or to {ALLOWED_NETWORKS}"
        return Rules.for_url(self.base_url, networks=self.networks, advice=advice)

    def bearing(self, token: str | None) -> TargetSettings:
        """With `token` as the credentials, unless there is none or the target has credentials of its own."""
        return replace(self, token=token) if token and not self.has_credentials else self

    def complete(self, fill: Callable[[str], str] = str) -> TargetSettings:
        """As it is called: all that is secret stands in `headers`, and `fill` has put secrets where their names were.

        Raises whatever `fill` raises, and ValueError for a secret that no header can carry.
        """
        headers, hidden = {name: fill(value) for name, value in self.headers.items()}, self.hidden
        if self.token:
            headers["Authorization"] = f"Bearer {fill(self.token)}"
        elif self.basic_auth:
            pair = fill(self.basic_auth)
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
            hidden = (*hidden, pair, pair.partition(":")[2])
        for name, value in headers.items():
            if not _HEADER_VALUE.fullmatch(value):
                raise ValueError(f"target '{self.name}': the value of header {name} must be one line of Latin-1 text")
        return replace(self, headers=headers, token=None, basic_auth=None, hidden=hidden)

    def problems(self) -> list[str]:
        """What is wrong with these settings, one sentence each."""
        problems = [*self._url_problems(), *self._header_problems(), *self._credential_problems()]
        problems += filter(None, map(network_fault, self.networks))
        if self.kind not in ("agentos", "http"):
            problems.append(f"kind {self.kind!r} must be agentos or http")
        if not self.tls.is_usual and (self.in_process or not self.base_url.lower().startswith("https://")):
            problems.append("tls_ca, tls_cert, tls_key and tls_verify need a base URL that begins with https://")
        elif not self.tls.is_usual:
            problems += self.tls.problems()
        return [f"target '{self.name}': {problem}" for problem in problems]

    def url_for(self, endpoint: str) -> URL:
        """The endpoint on this target. Raises ValueError when it would lead anywhere else."""
        if self.is_origin:
            return self._absolute(endpoint)
        path = endpoint.partition("?")[0]
        if not endpoint.startswith("/") or endpoint.startswith("//") or _UNSAFE.search(endpoint):
            raise ValueError(
                f"endpoint {endpoint!r} must be a path such as /agents/greeter/runs, without blanks, "
                "backslashes or a fragment"
            )
        if any(unquote(segment) in (".", "..") or "\\" in unquote(segment) for segment in path.split("/")):
            raise ValueError(f"endpoint {endpoint!r} must not contain '.' or '..' as a part of its path")
        base = URL(self.base_url)
        url = URL(self.base_url.rstrip("/") + endpoint)
        prefix = base.raw_path.rstrip("/") + "/"
        if url.origin() != base.origin() or url.user is not None or not url.raw_path.startswith(prefix):
            raise ValueError(f"endpoint {endpoint!r} leads away from {self.base_url}")
        return url

    def _absolute(self, endpoint: str) -> URL:
        """Read twice, by us and by the client that will send it: both must find this origin in it."""
        try:
            url = URL(endpoint)
            origins = {str(origin_of(endpoint)), str(origin_of(str(url)))}
        except ValueError as error:
            raise ValueError(f"endpoint {endpoint!r} {error}") from None
        if "#" in endpoint or origins != {self.base_url}:
            raise ValueError(f"endpoint {endpoint!r} leads away from {self.base_url}")
        return url

    def _url_problems(self) -> list[str]:
        if "@" in _AUTHORITY.sub(r"\1", self.base_url):
            return ["the base URL must carry no user or password: set token or basic_auth instead"]
        try:
            url = URL(self.base_url)
        except ValueError as error:
            return [f"base URL {self.base_url!r} is not a URL: {error}"]
        if url.scheme not in ("http", "https") or not url.host:
            return [f"base URL {self.base_url!r} must look like http://host:port or https://host"]
        if "?" in self.base_url or "#" in self.base_url:
            return [f"base URL {self.base_url!r} must have no query and no fragment"]
        try:
            fault = literal_fault(origin_of(self.base_url).host)
        except ValueError as error:
            fault = str(error)
        return [f"base URL {self.base_url!r} {fault}"] if fault else []

    def _header_problems(self) -> list[str]:
        problems = []
        for name, value in self.headers.items():
            if not _HEADER_NAME.fullmatch(name):
                problems.append(f"{name!r} is not a header name")
            elif name.lower() in RESERVED_HEADERS or name.lower().startswith("x-agentclock-"):
                problems.append(f"header {name} cannot be set: agentclock sets it itself")
            if not _HEADER_VALUE.fullmatch(value):
                problems.append(f"the value of header {name} must be one line of Latin-1 text")
        return problems

    def _credential_problems(self) -> list[str]:
        given = [name for name in self.headers if name.lower() == "authorization"]
        given = [*(f"header {name}" for name in given), *(["token"] * bool(self.token))]
        given += ["basic_auth"] * bool(self.basic_auth)
        problems = [f"{' and '.join(given)} are two ways to say who calls; keep one"] if len(given) > 1 else []
        if self.basic_auth and ":" not in self.basic_auth and "${" not in self.basic_auth:
            problems.append("basic_auth must be user:password")
        for name, value in (("token", self.token), ("basic_auth", self.basic_auth)):
            if value and not value.isprintable():
                problems.append(f"{name} must be one line of text")
        return problems
