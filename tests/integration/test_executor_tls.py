"""Targets over TLS: authorities of one's own, certificates that show who calls, and what is wrong with files."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from structlog.testing import capture_logs
from tests.executor_help import answering, recorder

from agentclock.config import Settings, TargetEntry
from agentclock.core.errors import ConfigError
from agentclock.core.model import Outcome, OutcomeKind
from agentclock.executor.dispatch import TargetExecutor


@dataclass(slots=True)
class Authority:
    """Issues certificates into `folder`, for this machine's address."""

    folder: Path
    name: str

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, self.name)])
        constraint = x509.BasicConstraints(ca=True, path_length=0)
        builder = _certificate(subject, self._key).issuer_name(subject).add_extension(constraint, critical=True)
        self._certificate = builder.sign(self._key, SHA256())
        self.ca.write_bytes(self._certificate.public_bytes(Encoding.PEM))

    _key: ec.EllipticCurvePrivateKey = None  # type: ignore[assignment]
    _certificate: x509.Certificate = None  # type: ignore[assignment]

    @property
    def ca(self) -> Path:
        return self.folder / f"{self.name}-ca.pem"

    def issue(self, name: str, password: bytes | None = None) -> tuple[Path, Path]:
        """The files of a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        builder = _certificate(subject, key).issuer_name(self._certificate.subject).add_extension(names, critical=False)
        certificate = builder.sign(self._key, SHA256())
        locked: KeySerializationEncryption = BestAvailableEncryption(password) if password else NoEncryption()
        cert_file, key_file = self.folder / f"{name}.pem", self.folder / f"{name}-key.pem"
        cert_file.write_bytes(certificate.public_bytes(Encoding.PEM))
        key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
        return cert_file, key_file


def _certificate(subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "inside")


@asynccontextmanager
async def served(context: ssl.SSLContext) -> AsyncIterator[str]:
    """The base URL of a server that answers 200 to everything."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")(
                head, reader, writer
            )
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            """The client does not trust us, or we not it."""
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def served_by(authority: Authority, *, asks: bool = False) -> ssl.SSLContext:
    """`asks`: clients must show a certificate of the same authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.ca)
    context.load_cert_chain(*authority.issue("server"))
    context.verify_mode = ssl.CERT_REQUIRED if asks else ssl.CERT_NONE
    return context


async def called(target: TargetEntry) -> Outcome:
    executor = TargetExecutor({"default": target})
    try:
        return await executor.execute(recorder("/x", None, method="GET").context)
    finally:
        await executor.close()


async def test_only_the_named_authority_counts(authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger")
    async with served(served_by(authority)) as url:
        good = await called(TargetEntry(base_url=url, kind="http", tls_ca=authority.ca))
        for ca in (None, stranger.ca):
            outcome = await called(TargetEntry(base_url=url, kind="http", tls_ca=ca))
            assert outcome.kind is OutcomeKind.REFUSED
            assert "its certificate is not accepted" in str(outcome.error)
    assert good.kind is OutcomeKind.SUCCESS


async def test_a_name_must_be_the_certificates(authority: Authority) -> None:
    async with served(served_by(authority)) as url:
        other = url.replace("127.0.0.1", "localhost")
        outcome = await called(TargetEntry(base_url=other, kind="http", tls_ca=authority.ca))
    assert outcome.kind is OutcomeKind.REFUSED
    assert "not valid for 'localhost'" in str(outcome.error)


async def test_verification_can_be_turned_off_and_that_is_said(authority: Authority) -> None:
    async with served(served_by(authority)) as url:
        with capture_logs() as lines:
            outcome = await called(TargetEntry(base_url=url, kind="http", tls_verify=False))
    assert outcome.kind is OutcomeKind.SUCCESS
    assert [(line["event"], line["target"], line["log_level"]) for line in lines] == [
        ("tls_not_verified", "default", "warning")
    ]


async def test_a_certificate_shows_who_calls(authority: Authority, tmp_path: Path) -> None:
    cert, key = authority.issue("clock")
    both = tmp_path / "both.pem"
    both.write_bytes(cert.read_bytes() + key.read_bytes())
    async with served(served_by(authority, asks=True)) as url:
        target = TargetEntry(base_url=url, kind="http", tls_ca=authority.ca)
        without = await called(target)
        with_two = await called(target.model_copy(update={"tls_cert": cert, "tls_key": key}))
        with_one = await called(target.model_copy(update={"tls_cert": both}))
    assert without.kind is not OutcomeKind.SUCCESS
    assert (with_two.kind, with_one.kind) == (OutcomeKind.SUCCESS, OutcomeKind.SUCCESS)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"tls_ca": "nowhere.pem"}, "tls_ca .*nowhere.pem: there is no such file"),
        ({"tls_ca": "empty.pem"}, "tls_ca .*empty.pem has no certificates in PEM"),
        ({"tls_ca": "clock-key.pem"}, "tls_ca .*clock-key.pem has no certificates in PEM"),
        ({"tls_key": "clock-key.pem"}, "tls_key needs a tls_cert"),
        ({"tls_cert": "clock.pem"}, "tls_cert .*clock.pem cannot be used"),
        ({"tls_cert": "clock.pem", "tls_key": "other-key.pem"}, "tls_cert .* and tls_key .* cannot be used"),
        ({"tls_cert": "locked.pem", "tls_key": "locked-key.pem"}, "without a password"),
        ({"tls_ca": "inside-ca.pem", "tls_verify": False}, "tls_ca has no use while tls_verify is off"),
    ],
)
def test_what_is_wrong_is_said_at_the_start(
    files: dict[str, object], says: str, authority: Authority, tmp_path: Path
) -> None:
    authority.issue("clock")
    authority.issue("other")
    authority.issue("locked", b"a password")
    (tmp_path / "empty.pem").touch()
    found = {name: tmp_path / value if isinstance(value, str) else value for name, value in files.items()}
    settings = Settings(targets={"default": {"base_url": "https://x.example", **found}})
    with pytest.raises(ConfigError, match=f"target 'default': {says}" if "password" not in says else says):
        TargetExecutor(settings.targets)


@pytest.mark.parametrize("base", [{"base_url": "http://x.example"}, {"in_process": True}])
def test_tls_is_for_https(base: dict[str, object], authority: Authority) -> None:
    with pytest.raises(ConfigError, match="need a base URL that begins with https://"):
        TargetExecutor({"default": TargetEntry(tls_ca=authority.ca, **base)}, app=_nobody)


async def _nobody(*_: object) -> None: ...
