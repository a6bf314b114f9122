"""Real processes for browsers to look at."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_ADDRESS = re.compile(r"(http://[0-9.]+:\d+)")
_START_SECONDS = 60.0


class Site:
    """One server process. It can be killed and started again on the same port and database."""

    def __init__(self, *command: str, env: Mapping[str, str] | None = None) -> None:
        self._command = command
        self._env = env
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def start(self) -> None:
        command = [*self._command, "--port", self.url.rpartition(":")[2] or "0"]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self._env
        )
        said = self._process.stdout
        assert said is not None
        lines = []
        while not (found := _ADDRESS.search(line := said.readline())):
            lines.append(line)
            assert line, f"it ended: {''.join(lines)}"
        self.url = found[1]
        # Somebody has to read what it says, or it would wait.
        threading.Thread(target=said.read, daemon=True).start()
        self._await_ready()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def until(self, path: str, holds: Callable[[Any], bool]) -> Any:
        """The first answer of which it holds."""
        deadline = time.monotonic() + _START_SECONDS
        while not holds(answer := self.call("GET", path)):
            assert time.monotonic() < deadline, f"{path} still answers {answer}"
            time.sleep(0.1)
        return answer

    def create(self, **fields: Any) -> dict[str, Any]:
        created: dict[str, Any] = self.call("POST", "/schedules", fields)
        return created

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.call("GET", "/schedules?limit=1")
            except (urllib.error.URLError, ConnectionError):
                assert time.monotonic() < deadline, "it never became ready"
                time.sleep(0.1)
            else:
                return


@contextmanager
def running(*command: str, env: Mapping[str, str] | None = None) -> Iterator[Site]:
    """An `agentclock` command that serves."""
    site = Site(sys.executable, "-m", "agentclock", *command, env=env)
    site.start()
    try:
        yield site
    finally:
        site.kill()


@contextmanager
def plain_target(answer: Any = None) -> Iterator[str]:
    """An endpoint that answers JSON: what `answer` is, or what it got. /fail answers 500."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = got if answer is None else json.dumps(answer).encode()
            self.send_response(500 if self.path.startswith("/fail") else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
