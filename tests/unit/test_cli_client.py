"""The client of the API, apart from how it reaches it: what answers mean, pages, streams that break off."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agentclock.cli import client as client_module
from agentclock.cli.client import ApiError, Call, Client, ExitCode, Trouble, Unreachable, path_of
from agentclock.cli.connecting import USUAL_URL, Connection, connected
from agentclock.cli.finding import find_run, find_schedule, newest_run


class Said:
    """An answer in pieces; an exception among them is raised."""

    def __init__(self, status: int, *pieces: bytes | Exception, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.headers: Mapping[str, str] = headers or {}
        self._pieces = list(pieces)

    async def piece(self) -> bytes:
        piece = self._pieces.pop(0) if self._pieces else b""
        if isinstance(piece, Exception):
            raise piece
        return piece


class Script:
    """A transport that says what it was told to, and remembers what it was asked."""

    def __init__(self, *answers: Said | Exception | Callable[[Call], Said]) -> None:
        self.calls: list[Call] = []
        self._answers = list(answers)

    @asynccontextmanager
    async def send(self, call: Call) -> AsyncIterator[Said]:
        self.calls.append(call)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        yield answer if isinstance(answer, Said) else answer(call)


def said(content: Any, status: int = 200) -> Said:
    return Said(status, json.dumps(content).encode())


def client_of(script: Script) -> Client:
    return Client(script, where="http://clock")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, ExitCode.USAGE),
        (401, ExitCode.REFUSED),
        (403, ExitCode.REFUSED),
        (404, ExitCode.NOT_FOUND),
        (409, ExitCode.FAILED),
        (413, ExitCode.USAGE),
        (422, ExitCode.USAGE),
        (429, ExitCode.UNAVAILABLE),
        (500, ExitCode.UNAVAILABLE),
        (503, ExitCode.UNAVAILABLE),
    ],
)
async def test_each_refusal_has_its_exit_code(status: int, code: ExitCode) -> None:
    with pytest.raises(ApiError, match="because") as refused:
        await client_of(Script(said({"detail": "because"}, status))).get("/schedules")
    assert (refused.value.code, refused.value.status) == (code, status)


async def test_faults_name_their_fields() -> None:
    faults = [
        {"loc": ["body", "retry", 0], "msg": "is wrong"},
        {"loc": ["query"], "msg": "is missing"},
        {"loc": [], "msg": "is odd"},
        "and more",
    ]
    with pytest.raises(ApiError) as refused:
        await client_of(Script(said({"detail": faults}, 422))).get("/x")
    assert str(refused.value).splitlines() == ["retry.0: is wrong", "query: is missing", "is odd", "and more"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Said(200, b"<html>"), "answers with no JSON"),
        (Said(302, headers={"Location": "http://other"}), r"sends us elsewhere \(http://other\)"),
        (Said(200, b"{", Unreachable("broke")), "broke"),
        (said({"detail": "Not Found"}, 404), "an older agentclock, or none"),
        (Said(404, b"<html>"), "an older agentclock, or none"),
    ],
)
async def test_whoever_is_no_agentclock_is_unavailable(answer: Said, message: str) -> None:
    with pytest.raises(Unreachable, match=message) as away:
        await client_of(Script(answer)).get("/schedules")
    assert away.value.code is ExitCode.UNAVAILABLE


async def test_a_list_of_somebody_else_is_no_list() -> None:
    for content in ([], {"data": []}, {"items": [], "meta": {}}):
        with pytest.raises(Unreachable, match="does not answer as an agentclock does"):
            await client_of(Script(said(content))).page("/schedules")


async def test_an_error_without_a_word_names_its_status() -> None:
    with pytest.raises(ApiError, match="502 Bad Gateway"):
        await client_of(Script(Said(502, b"<html>"))).get("/schedules")


async def test_queries_leave_out_what_is_not_asked() -> None:
    script = Script(said({}))
    query = {"q": "a b&c", "none": None, "enabled": False, "status": ["failed", "lost"], "limit": 5}
    await client_of(script).get(path_of("schedules", "../x?y"), query)
    [call] = script.calls
    assert call.path == "/schedules/..%2Fx%3Fy?q=a+b%26c&enabled=false&status=failed&status=lost&limit=5"


def pages(call: Call) -> Said:
    """Five rows, two at a time; by cursor or by number."""
    asked = dict(pair.split("=") for pair in call.path.partition("?")[2].split("&"))
    start = int(asked.get("cursor", 0)) or (int(asked.get("page", 1)) - 1) * 2
    rows = list(range(5))[start : start + min(2, int(asked["limit"]))]
    following = start + len(rows)
    meta = {"page": start // 2 + 1, "total_pages": 3, "next_cursor": str(following) if following < 5 else None}
    return said({"data": rows, "meta": meta})


@pytest.mark.parametrize("is_numbered", [True, False])
async def test_lists_are_read_page_by_page(is_numbered: bool) -> None:
    script = Script(pages)
    client = client_of(script)
    assert (await client.page("/x", is_numbered=is_numbered))["data"] == [0, 1, 2, 3, 4]
    assert len(script.calls) == 3
    assert (await client.page("/x", most=3, is_numbered=is_numbered))["data"] == [0, 1, 2]
    assert (await client.page("/x", most=2, is_numbered=is_numbered))["data"] == [0, 1]
    assert len(script.calls) == 6


def frames(*ids: int) -> bytes:
    return b"".join(f"id: {one}\nevent: RunContent\ndata: {one}\n\n".encode() for one in ids)


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "RETRY_SECONDS", (0.0, 0.0))


@pytest.mark.usefixtures("_at_once")
async def test_a_stream_is_taken_up_where_it_broke_off() -> None:
    script = Script(
        Said(200, b"retry: 1\n\n: alive\n\n", frames(1, 2), b"id: 3\ndata: lost\n"),  # the end of a server
        Unreachable("refused"),
        said({"detail": "not yet"}, 503),
        Said(200, frames(3), Unreachable("broke")),
        Said(200, frames(4)),
        Said(204),
    )
    away: list[str] = []
    client = client_of(script)
    async with aclosing(client.events("/e", when_away=lambda trouble: away.append(str(trouble)))) as events:
        assert [event.data async for event in events] == ["1", "2", "3", "4"]
    assert [call.headers.get("last-event-id") for call in script.calls] == [None, "2", "2", "2", "3", "4"]
    assert away == ["refused", "not yet", "broke"]


@pytest.mark.usefixtures("_at_once")
@pytest.mark.parametrize("first", [Unreachable("refused"), said({"detail": "gone"}, 404), said({"detail": "no"}, 503)])
async def test_a_stream_that_never_was_is_an_error(first: Said | Exception) -> None:
    with pytest.raises(Trouble):
        await anext(client_of(Script(first)).events("/e"))


@pytest.mark.usefixtures("_at_once")
async def test_a_stream_that_one_may_no_longer_see_is_an_error() -> None:
    script = Script(Said(200, frames(1)), said({"detail": "expired"}, 401))
    events = client_of(script).events("/e")
    assert (await anext(events)).data == "1"
    with pytest.raises(ApiError, match="expired"):
        await anext(events)


ID = "01a20934-de0e-796e-bc61-33fe2f5044c8"


def schedules(*rows: tuple[str, str]) -> Callable[[Call], Said]:
    """An API that has schedules with these ids and names."""

    def answer(call: Call) -> Said:
        path, _, query = call.path.partition("?")
        if path == "/schedules":
            part = next((pair[5:] for pair in query.split("&") if pair.startswith("name=")), "")
            found = [{"id": one, "name": name, "user_id": "ann"} for one, name in rows if part in name]
            return said({"data": found, "meta": {"next_cursor": None}})
        if path == "/schedules/summary":
            return said({"schedules": {}})
        found = [{"id": one, "name": name} for one, name in rows if path == f"/schedules/{one}"]
        return said(found[0]) if found else said({"detail": "Schedule not found"}, 404)

    return answer


async def test_schedules_are_found_by_name_or_id() -> None:
    client = client_of(Script(schedules((ID, "night"), ("s2", "nightly"), ("s3", ID))))
    assert (await find_schedule(client, "night"))["id"] == ID
    assert (await find_schedule(client, "s2"))["id"] == "s2"
    assert (await find_schedule(client, ID))["name"] == "night"


async def test_a_name_that_several_have_is_told_with_their_ids() -> None:
    client = client_of(Script(schedules(("s1", "night"), ("s2", "night"))))
    with pytest.raises(Trouble, match=r"(?s)give the id of one.*s1  of ann.*s2  of ann") as several:
        await find_schedule(client, "night")
    assert several.value.code is ExitCode.USAGE


@pytest.mark.parametrize("named", ["nigthly", "summary", ID])
async def test_what_is_not_there_is_told_with_what_may_have_been_meant(named: str) -> None:
    with pytest.raises(Trouble, match=f"'{named}' is neither the name nor the id") as missing:
        await find_schedule(client_of(Script(schedules(("s1", "nightly")))), named)
    assert missing.value.code is ExitCode.NOT_FOUND
    assert ("did you mean nightly?" in str(missing.value)) == (named == "nigthly")


async def test_runs_that_are_not_there() -> None:
    with pytest.raises(Trouble, match="there is no run 'r1'") as missing:
        await find_run(client_of(Script(said({"detail": "Schedule run not found"}, 404))), "r1")
    assert missing.value.code is ExitCode.NOT_FOUND
    nothing = said({"data": [], "meta": {"next_cursor": None}})
    with pytest.raises(Trouble, match="night has no run yet"):
        await newest_run(client_of(Script(nothing)), {"id": "s1", "name": "night"})


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Connection(url="http://x", database="y"), "exclude each other"),
        (Connection(url="ftp://x"), "--url must look like https://host or http://host:port"),
        (Connection(url="http://ann:secret@x"), "without user or password$"),
        (Connection(url="http://x?y"), "--url must look like"),
        (Connection(url="http://x", token="a", token_file=Path("b")), "--token and --token-file exclude each other"),
        (Connection(url="http://x", token_file=Path("/nowhere/token")), "--token-file /nowhere/token: No such file"),
        (Connection(url="http://x", token="two words"), "the token must be one line"),
        (Connection(database="/nowhere/clock.db"), "/nowhere/clock.db does not exist"),
    ],
)
async def test_connections_that_cannot_be(wanted: Connection, message: str) -> None:
    with pytest.raises(Trouble, match=message) as refused:
        async with connected(wanted):
            pass
    assert refused.value.code is ExitCode.USAGE
    assert "secret" not in str(refused.value)
    assert "two words" not in str(refused.value)


async def test_without_a_word_one_is_told_what_to_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody(_: str) -> bool:
        return False

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("agentclock.cli.network.answers", nobody)
    for name in ("AGENTCLOCK_URL", "AGENTCLOCK_DATABASE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Trouble, match=f"(?s)no server answers on {USUAL_URL}.*--url.*--database.*serve") as lost:
        async with connected(Connection()):
            pass
    assert lost.value.code is ExitCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("wanted", "where"), [(None, "http://elsewhere:1"), ("http://here:2/base", "http://here:2/base")]
)
async def test_the_command_line_is_asked_before_the_environment(
    wanted: str | None, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTCLOCK_URL", "http://elsewhere:1")
    async with connected(Connection(url=wanted)) as client:
        assert client.where.rstrip("/") == where
