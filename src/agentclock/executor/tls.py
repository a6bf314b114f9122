"""TLS of one target: whom it is trusted to be, and who we are to it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """`ca`: the only authorities that count, in place of the system's. `cert` and `key`: our own certificate; the key
    may stand in the same file. `verify` False: anybody is believed to be the target. All files are PEM."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    verify: bool = True

    @property
    def is_usual(self) -> bool:
        return self == Tls()

    def problems(self) -> list[str]:
        """What is wrong, the files' contents included; reads them."""
        problems = [
            f"{name} {path}: there is no such file"
            for name, path in (("tls_ca", self.ca), ("tls_cert", self.cert), ("tls_key", self.key))
            if path is not None and not path.is_file()
        ]
        if self.key is not None and self.cert is None:
            problems.append("tls_key needs a tls_cert")
        if self.ca is not None and not self.verify:
            problems.append("tls_ca has no use while tls_verify is off; keep one of them")
        if problems:
            return problems
        try:
            self.context()
        except ValueError as error:
            return [str(error)]
        return []

    def context(self) -> ssl.SSLContext:
        """Reads the files. Raises ValueError, naming the setting whose file cannot be used."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except (OSError, ValueError) as error:
            raise ValueError(f"tls_ca {self.ca} has no certificates in PEM ({_reason(error)})") from error
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.cert is not None:
            self._show_who_we_are(context, self.cert)
        return context

    def _show_who_we_are(self, context: ssl.SSLContext, cert: Path) -> None:
        try:
            # With a password at hand nobody is asked for one on the terminal.
            context.load_cert_chain(cert, self.key, password="")
        except (OSError, ValueError) as error:
            files = f"tls_cert {cert}" + (f" and tls_key {self.key}" if self.key else "")
            hint = "a certificate and its key, in PEM, without a password"
            raise ValueError(f"{files} cannot be used: they must hold {hint} ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    return error.reason if isinstance(error, ssl.SSLError) and error.reason else str(error)
