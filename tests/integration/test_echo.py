"""Targets that repeat everything they are sent: nothing of it that is secret is kept or shown anywhere."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest
import structlog
from tests.apis import client_of
from tests.echo import AGENTS, KEPT_BYTES, WAYS, Echo
from tests.executor_help import executor_for, raw_server, recorder

from agentclock.app import assemble, create_app
from agentclock.config import LogFormat, Settings
from agentclock.core.errors import Forbidden
from agentclock.core.model import OutcomeKind
from agentclock.core.notices import NoticeKind
from agentclock.executor.blotting import HIDDEN, Blotter
from agentclock.logs import configure_logging

LITERAL = "lit-9fK2/header+value"
SERVICE = "svc-token-77aa88bb99"
WEBHOOK = base64.b64encode(b"the webhook's own key").decode()
NAMED = {
    "API_KEY": 'key "with\\ signs"/é&<x>%41',
    "TOKEN": "tok.en_5567-ZZtop~",
    "PASSWORD": "pass word+of:somebody",
    "IN_PAYLOAD": "payload-secret/8899==",
    "IN_QUERY": "query secret&8=9",
    "HOOK": "hook-path-0011223344",
}
SECRETS = [LITERAL, SERVICE, WEBHOOK, *NAMED.values()]


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    async with Echo().open() as made:
        yield made


@pytest.fixture
def lines() -> Iterator[StringIO]:
    """All that is logged, as `agentclock serve` does it."""
    written, root = StringIO(), logging.getLogger()
    handlers, level = root.handlers, root.level
    loggers = [logging.getLogger(f"uvicorn.{name}") for name in ("access", "error")]
    levels = [logger.level for logger in loggers]
    real, sys.stderr = sys.stderr, written
    configure_logging("debug", LogFormat.JSON)
    yield written
    sys.stderr = real
    root.handlers = handlers
    root.setLevel(level)
    for logger, before in zip(loggers, levels, strict=True):
        logger.setLevel(before)
    structlog.reset_defaults()


@asynccontextmanager
async def process(
    echo: Echo, database: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx2.AsyncClient]:
    for name in ("API_KEY", "TOKEN", "HOOK"):
        monkeypatch.setenv(f"AGENTCLOCK_SECRET_{name}", NAMED[name])
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{echo.url}/outside/traces")
    (folder / "PASSWORD").write_text(NAMED["PASSWORD"] + "\n")
    (folder / "secrets.toml").write_text(
        f'IN_PAYLOAD = {json.dumps(NAMED["IN_PAYLOAD"])}\nIN_QUERY = "query secret&8=9"\n'
    )
    targets: dict[str, Any] = {
        "keyed": {"kind": "http", "headers": {"X-Api-Key": "${secret:API_KEY}", "X-Literal": LITERAL}},
        "basic": {"kind": "http", "basic_auth": "somebody:${secret:PASSWORD}", "headers": {"X-Api-Key": LITERAL}},
        "bearer": {"kind": "agentos", "token": "${secret:TOKEN}"},
        "default": {"kind": "agentos"},
    }
    settings = Settings(
        database=database,
        targets={name: {"base_url": echo.url, **target} for name, target in targets.items()},
        service_token=SERVICE,
        secrets_dir=folder,
        secrets_file=folder / "secrets.toml",
        allowed_networks=("127.0.0.0/8",),
        response_cap_bytes=KEPT_BYTES,
        otel=True,
        webhooks={
            "sink": {
                "url": f"{echo.url}/outside/webhook/${{secret:HOOK}}",
                "secret": f"whsec_{WEBHOOK}",
                "events": list(NoticeKind),
                "with_output": True,
            }
        },
    )
    clockwork = assemble(settings)
    app = create_app(clockwork)
    async with app.router.lifespan_context(app), client_of(app) as client:
        yield client


def drafts(echo: Echo) -> Iterator[dict[str, Any]]:
    payload = {"message": "use ${secret:IN_PAYLOAD}!", "dependencies": {"key": ["${secret:IN_PAYLOAD}"]}}
    for way in WAYS:
        for target, status in (("keyed", 500), ("basic", 200)):
            yield {
                "endpoint": f"/say/{way}/{307 if way == 'location' else status}",
                "target": target,
                "payload": payload,
            }
    for number in (5, 20):
        yield {"endpoint": f"/say/padded/200?kept={number}", "target": "keyed", "payload": payload}
    query = {"q": "${secret:IN_QUERY}", "list": ["a", "${secret:IN_PAYLOAD}"]}
    yield {"endpoint": "/say/plain/500", "target": "keyed", "method": "GET", "payload": query}
    for agent in AGENTS:
        for target in ("bearer", "default"):
            yield {"endpoint": f"/agents/{agent}/runs", "target": target, "payload": payload}


async def run_all(client: httpx2.AsyncClient, echo: Echo) -> list[dict[str, Any]]:
    async def run(number: int, draft: dict[str, Any]) -> dict[str, Any]:
        ping_url = f"{echo.url}/outside/ping/{number}"
        made = await client.post(
            "/schedules", json={"name": f"s{number}", "cron_expr": "", "ping_url": ping_url, **draft}
        )
        assert made.status_code == 201, made.text
        answer = await client.post(f"/schedules/{made.json()['id']}/trigger?wait=30")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    return await asyncio.gather(*(run(number, draft) for number, draft in enumerate(drafts(echo))))


async def shown(client: httpx2.AsyncClient, runs: list[dict[str, Any]]) -> list[str]:
    """What the API says of all that."""
    paths = ["/schedules?limit=100", "/runs?limit=100", "/audit?limit=100", "/owners", "/webhooks", "/webhooks/notices"]
    paths += ["/metrics", "/health", "/ready", "/info", "/openapi.json"]
    for run in runs:
        schedule = f"/schedules/{run['schedule_id']}"
        paths += [schedule, f"{schedule}/runs", f"{schedule}/revisions", f"{schedule}/accounting", f"{schedule}/usage"]
        paths.append(f"{schedule}/runs/{run['id']}")
        if run["status"] != "paused":  # its stream would stay open
            paths.append(f"{schedule}/runs/{run['id']}/events")
    answers = []
    for path in paths:
        answer = await client.get(path)
        assert answer.status_code in (200, 204), f"{path}: {answer.text}"
        answers.append(f"{path} {answer.headers} {answer.text}")
    return answers


def sqlite_content(path: Path) -> Iterator[tuple[str, str]]:
    with sqlite3.connect(path) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            rows = database.execute(f'SELECT * FROM "{table}"')
            columns = [column[0] for column in rows.description]
            for row in rows:
                for column, value in zip(columns, row, strict=True):
                    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
                    yield f"{table}.{column}", text


async def postgres_content(dsn: str) -> list[tuple[str, str]]:
    connection = await asyncpg.connect(dsn)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'agentclock'")
        found = []
        for (table,) in tables:
            rows = await connection.fetch(f'SELECT t::text FROM agentclock."{table}" t')
            found += [(table, row[0]) for row in rows]
        return found
    finally:
        await connection.close()


def leaks(texts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Where secrets are found, by what they look like in any form."""
    blotter = Blotter([*SECRETS, base64.b64encode(f"somebody:{NAMED['PASSWORD']}".encode()).decode()])
    found = []
    for place, text in texts:
        if blotter.hides(text):
            found += [(place, text[max(start - 40, 0) : end + 20]) for start, end in blotter.spans(text)[:3]]
    return found


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
async def test_nothing_secret_is_kept_or_shown(
    store: str,
    echo: Echo,
    lines: StringIO,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "clock.db"
    database = str(path) if store == "sqlite" else request.getfixturevalue("empty_postgres_dsn")
    async with process(echo, database, tmp_path, monkeypatch) as client:
        runs = await run_all(client, echo)
        answers = await shown(client, runs)
    content = list(sqlite_content(path)) if store == "sqlite" else await postgres_content(database)
    logged = [("log", line) for line in lines.getvalue().splitlines()]
    posted = [("outside", text) for text in echo.posted if HIDDEN in text or "/webhook/" not in text]
    # Its own path is what opens a webhook; it is shown to nobody but the receiver.
    posted = [(place, text.replace(f"/webhook/{NAMED['HOOK']}", "/webhook")) for place, text in posted]
    assert leaks([*content, *(("api", answer) for answer in answers), *logged, *posted]) == []
    # There was something to be found, and what is no secret came through.
    heard = "\n".join(echo.heard)
    sent = [secret for secret in SECRETS if secret not in (WEBHOOK, NAMED["HOOK"], NAMED["PASSWORD"])]
    assert [secret for secret in sent if secret not in heard] == []
    assert sum(text.count(HIDDEN) for _, text in content) > 300
    assert {run["status"] for run in runs} == {"success", "failed", "paused", "cancelled"}
    assert "X-Agentclock-Run" in "".join(text for _, text in content)
    cut = [run["output"]["content"] for run in runs if (run["output"] or {}).get("truncated")]
    assert [text for text in cut if not HIDDEN.startswith(text.lstrip("x"))] == []


async def test_owners_may_use_the_secrets_that_a_target_lists(
    echo: Echo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused when written, when triggered, and again when sent."""
    monkeypatch.setenv("AGENTCLOCK_SECRET_MINE", "mine-0123456789")
    monkeypatch.setenv("AGENTCLOCK_SECRET_OTHER", "other-0123456789")
    hooks = {"base_url": echo.url, "kind": "http", "secrets": ("MINE",)}
    clockwork = assemble(Settings(database=str(tmp_path / "clock.db"), targets={"default": hooks}))
    app = create_app(clockwork)
    draft: dict[str, Any] = {"name": "mine", "endpoint": "/say/plain/200", "cron_expr": ""}
    mine, other = {"a": "${secret:MINE}"}, {"a": "${secret:OTHER}"}
    async with app.router.lifespan_context(app):
        scheduler = clockwork.scheduler
        schedule = await scheduler.create({**draft, "payload": mine}, user_id="alice")
        for attempt in (
            scheduler.create({**draft, "name": "other", "payload": other}, user_id="alice"),
            scheduler.change(schedule.id, {"payload": other}, user_id="alice"),
            scheduler.trigger(schedule.id, {"payload": other}, user_id="alice"),
        ):
            with pytest.raises(Forbidden, match="may not use 'OTHER'"):
                await attempt
        good = await scheduler.trigger(schedule.id, wait_seconds=20, user_id="alice")
        bad = await scheduler.trigger((await scheduler.create({**draft, "payload": other})).id, wait_seconds=20)
    assert (good.run.status, bad.run.status) == ("success", "success")
    call = recorder("/say/plain/200", other, user_id="alice")
    async with executor_for(echo.url, kind="http") as executor:
        outcome = await executor.execute(call.context)
    assert (outcome.kind, outcome.retryable, outcome.input) == (OutcomeKind.FAILED, False, other)
    assert outcome.error == (
        "a schedule that has an owner may not use 'OTHER': its target's setting `secrets` does not list that"
    )
    assert sum("other-0123456789" in heard for heard in echo.heard) == 1


async def test_an_answer_that_is_no_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTCLOCK_SECRET_KEY", LITERAL)

    async def repeat(head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b" ".join(head.split()) + b"\r\n\r\n")
        await writer.drain()

    async with raw_server(repeat) as url, executor_for(url, headers={"X-Key": "${secret:KEY}"}) as executor:
        for endpoint in ("/hook", "/agents/greeter/runs"):
            outcome = await executor.execute(recorder(endpoint, {"message": "${secret:KEY}"}).context)
            assert LITERAL not in repr(outcome)
            assert not Blotter([LITERAL]).hides(repr(outcome))
            assert "did not answer in HTTP" in (outcome.error or "")


async def test_whoever_asks_whether_a_target_answers_is_told_of_missing_secrets(
    echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with executor_for(echo.url, headers={"X-Key": "${secret:KEY}"}) as executor:
        assert await executor.reachable("default") == "secret 'KEY' is not known: set AGENTCLOCK_SECRET_KEY"
        monkeypatch.setenv("AGENTCLOCK_SECRET_KEY", LITERAL)
        assert await executor.reachable("default") is None
    assert LITERAL in echo.heard[-1]
