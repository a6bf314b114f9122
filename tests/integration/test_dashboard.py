"""How the dashboard is served: where, with which headers, and to whom."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from tests.asgi_life import client_of

from agentclock.app import assemble, create_app
from agentclock.config import Settings
from agentclock.core.errors import ConfigError
from agentclock.embed import attach


def client(tmp_path: Path, **settings: object) -> httpx2.AsyncClient:
    loaded = Settings.load(None, database=str(tmp_path / "clock.db"), **settings)
    return client_of(create_app(assemble(loaded)))


def assets_of(page: str) -> list[str]:
    return re.findall(r"(?:src|href)=\"([^\"#]*/assets/[^\"]+)\"", page)


async def test_the_page_and_all_that_it_asks_for(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        page = await http.get("/")
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        assert page.headers["cache-control"] == "no-cache"
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "require-trusted-types-for 'script'; trusted-types 'none'" in policy
        assert "unsafe" not in policy
        assert "{{" not in page.text
        asked = assets_of(page.text)
        assert len(asked) > 8
        for path in asked:
            answer = await http.get(path)
            assert answer.status_code == 200, path
            assert "immutable" in answer.headers["cache-control"]
            assert answer.headers["content-security-policy"].startswith("default-src 'none'")
            assert answer.headers["x-content-type-options"] == "nosniff"


async def test_files_are_compressed_for_those_who_can_read_it(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        path = next(path for path in assets_of((await http.get("/")).text) if path.endswith("app.js"))
        plain = await http.get(path, headers={"Accept-Encoding": "identity"})
        async with http.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as answer:
            packed = b"".join([piece async for piece in answer.aiter_raw()])
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.headers["vary"] == "Accept-Encoding"
        assert gzip.decompress(packed) == plain.content


async def test_another_version_or_another_file(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        old = await http.get("/assets/0123456789ab/app.js")
        assert (old.status_code, old.headers["cache-control"]) == (200, "no-cache")
        for path in ("..%2f..%2fpages.py", "..%2fpages.py", "index.html", "nothing.js", "", "screens"):
            assert (await http.get(f"/assets/0123456789ab/{path}")).status_code == 404, path


async def test_nobody_is_asked_for_a_token_to_see_the_form_for_it(tmp_path: Path) -> None:
    async with client(tmp_path, security_key="a-key-that-nobody-guesses") as http:
        assert (await http.get("/")).status_code == 200
        assert (await http.get("/schedules")).status_code == 401


async def test_elsewhere_or_nowhere(tmp_path: Path) -> None:
    async with client(tmp_path, dashboard_path="/clock/board") as http:
        assert (await http.get("/")).status_code == 404
        page = await http.get("/clock/board/")
        assert page.status_code == 200
        assert all(path.startswith("/clock/board/assets/") for path in assets_of(page.text))
    async with client(tmp_path, dashboard_path="off") as http:
        assert (await http.get("/")).status_code == 404


@pytest.mark.parametrize("path", ["clock", "/a b", "/<x>", "//", "/clock/"])
def test_a_path_that_is_none(path: str) -> None:
    with pytest.raises(ConfigError, match="dashboard_path"):
        Settings.load(None, dashboard_path=path)


@pytest.mark.parametrize(("prefix", "chosen", "place"), [("", None, "/scheduler"), ("/v1", "/clock", "/v1/clock")])
async def test_inside_an_app(tmp_path: Path, prefix: str, chosen: str | None, place: str) -> None:
    app = FastAPI()
    app.get("/")(lambda: {"mine": True})
    attach(app, str(tmp_path / "clock.db"), prefix=prefix, dashboard_path=chosen)
    async with client_of(app) as http:
        assert (await http.get("/")).json() == {"mine": True}
        page = await http.get(place)
        assert page.status_code == 200
        assert f'content="{prefix}"' in page.text
        assert all([(await http.get(path)).status_code == 200 for path in assets_of(page.text)])


async def test_behind_a_proxy_that_takes_a_prefix_away(tmp_path: Path) -> None:
    loaded = Settings.load(None, database=str(tmp_path / "clock.db"))
    app = create_app(assemble(loaded))
    transport = httpx2.ASGITransport(app=app, root_path="/apps/clock")
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http:
        page = (await http.get("/apps/clock/")).text
        assert 'content="/apps/clock"' in page
        assert all(path.startswith("/apps/clock/assets/") for path in assets_of(page))
