"""A server that asks nobody for a token is for this machine alone, unless somebody says that it is meant."""

from __future__ import annotations

import ipaddress
import socket
import sys

import structlog
import typer
from rich.console import Console
from rich.markup import escape

from agentclock.auth import is_configured
from agentclock.config import LogFormat, Settings


def refuse_exposure(settings: Settings, host: str) -> None:
    """Exits 2 where everybody on a network could do everything. `host`: a name, or an address of any kind."""
    if is_configured(settings) or settings.allow_anyone or is_loopback(host):
        return
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(
        f"[bold red]Cannot listen on {escape(host) or 'every address'}:[/bold red] nobody is asked for a token, so "
        "everybody who can connect could do everything. Choose one of these:"
    )
    for way in (
        "ask for a key: set security_key (AGENTCLOCK_SECURITY_KEY) to a long random text",
        "ask for JSON Web Tokens: set jwt_secret, jwt_public_key or jwt_jwks, with jwt_issuer and jwt_audience",
        "let only this machine connect: host 127.0.0.1 (--host of serve, AGENTCLOCK_HOST)",
        "let everybody do everything: --allow-anyone, or AGENTCLOCK_ALLOW_ANYONE=true",
    ):
        console.print(f"  - {way}")
    raise typer.Exit(2)


def warn_of_exposure(settings: Settings, host: str) -> None:
    """Says so, whatever else the log says, where everybody may do everything on purpose."""
    if is_configured(settings) or is_loopback(host):
        return
    if settings.log_format is LogFormat.JSON:
        structlog.get_logger("agentclock").warning("anyone_may_do_everything", host=host)
        return
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"[bold red]Everybody who can connect to {escape(host)} may do everything[/bold red] (allow_anyone).")
    sys.stderr.flush()


def is_loopback(host: str) -> bool:
    """Whether all that `host` means are addresses of this machine that others cannot reach. A name is looked up; one
    that means nothing can be listened on by nobody."""
    if not host:
        return False
    try:
        return _is_loopback_address(host)
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return True
    return all(_is_loopback_address(str(address[0])) for *_, address in found)


def _is_loopback_address(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback
