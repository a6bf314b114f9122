"""Where requests may go: named base URLs, and endpoints that can never lead away from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol
from urllib.parse import unquote

from yarl import URL

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
    def in_process(self) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSettings:
    """One target by name. `headers` go with every request to it and are secret: they are never stored or logged.

    `kind` agentos: run endpoints are followed as agent runs; http: every endpoint is one request, one answer.
    `in_process`: the app that hosts us, called without a network; its base URL says only what the app sees as its own
    scheme, host and path prefix.
    """

    name: str
    base_url: str = IN_PROCESS_URL
    kind: str = "agentos"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    in_process: bool = False

    @classmethod
    def named(cls, name: str, target: TargetLike) -> TargetSettings:
        return cls(
            name=name,
            base_url=target.base_url or (IN_PROCESS_URL if target.in_process else ""),
            kind=str(target.kind),
            headers=dict(target.headers),
            in_process=target.in_process,
        )

    def bearing(self, token: str | None) -> TargetSettings:
        """With `token` as the credentials, unless there is none or the target has credentials of its own."""
        if not token or any(name.lower() == "authorization" for name in self.headers):
            return self
        return replace(self, headers={**self.headers, "Authorization": f"Bearer {token}"})

    def problems(self) -> list[str]:
        """What is wrong with these settings, one sentence each."""
        problems = [*self._url_problems(), *self._header_problems()]
        if self.kind not in ("agentos", "http"):
            problems.append(f"kind {self.kind!r} must be agentos or http")
        return [f"target '{self.name}': {problem}" for problem in problems]

    def url_for(self, endpoint: str) -> URL:
        """The endpoint on this target. Raises ValueError when it would lead anywhere else."""
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

    def _url_problems(self) -> list[str]:
        try:
            url = URL(self.base_url)
            usable = url.scheme in ("http", "https") and bool(url.host) and url.port != 0
        except ValueError as error:
            return [f"base URL {self.base_url!r} is not a URL: {error}"]
        if url.user is not None or url.password is not None:
            return ["the base URL must carry no user or password: set an Authorization header instead"]
        if not usable:
            return [f"base URL {self.base_url!r} must look like http://host:port or https://host"]
        if url.query_string or url.fragment:
            return [f"base URL {self.base_url!r} must have no query and no fragment"]
        return []

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
