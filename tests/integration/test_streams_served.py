"""Event streams of a real server: they come as they are sent, and do not keep the server when it is to stop."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.processes import Target, serving


async def test_open_streams_do_not_hold_up_the_stop(tmp_path: Path) -> None:
    """The grace is an hour: whoever waited for the viewers to leave would not end within a test."""
    options = ("--config", str(tmp_path / "agentclock.toml"))
    (tmp_path / "agentclock.toml").write_text("[agentclock]\nshutdown_grace_seconds = 3600\n")
    async with Target() as target, serving(str(tmp_path / "clock.db"), target, *options) as server:
        draft = {"name": "late", "endpoint": "/hook", "run_at": "2999-01-01", "overlap": "allow"}
        one = f"/schedules/{(await server.post('/schedules', draft))['id']}"
        async with server.session.get("/schedules/events") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            assert await stream.content.readuntil(b"\n\n") == b"retry: 1000\n\n"
            assert b"event: snapshot" in await stream.content.readuntil(b"\n\n")
            await server.post(f"{one}/trigger")
            seen = b""
            while b'"status":"success"' not in seen:
                seen += await stream.content.readuntil(b"\n\n")
            server.tell(signal.SIGTERM)
            # To its end, in good order: a connection that breaks off raises.
            rest = await stream.content.read()
            assert b"event: snapshot" not in rest
        assert await server.ended() == 0


async def test_the_stream_of_a_run_ends_with_it(tmp_path: Path) -> None:
    async with Target() as target, serving(str(tmp_path / "clock.db"), target) as server:
        one = f"/schedules/{(await server.post('/schedules', {'name': 'n', 'endpoint': '/hook'}))['id']}"
        run = await server.post(f"{one}/trigger")
        async with server.session.get(f"{one}/runs/{run['id']}/events") as stream:
            body = await stream.content.read()
        assert body.count(b"event: status") == 1
        assert body.rstrip().rpartition(b"\n\n")[2].startswith(b"id: 1\nevent: end\n")
        async with server.session.get(f"{one}/runs/{run['id']}/events", headers={"Last-Event-ID": "1"}) as stream:
            assert stream.status == 204
