"""Bodies that are not what they should be: every one is a 422 that names its field, and nothing is stored."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from tests.apis import DRAFT, World, app_of, client_of, world

from agentclock.api import RequestLimits, build_router

JSON = {"content-type": "application/json"}
MIB = 1_048_576


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        yield made


@pytest.fixture
async def client(here: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app_of(here)) as made:
        yield made


def body(**raw: str) -> bytes:
    """DRAFT with fields whose JSON is written by hand."""
    fields = {key: json.dumps(value) for key, value in DRAFT.items()} | raw
    return ("{" + ",".join(f'"{key}":{value}' for key, value in fields.items()) + "}").encode()


async def refused(here: World, client: httpx2.AsyncClient, content: bytes, headers: dict[str, str] = JSON) -> list[Any]:
    """The faults, the same for POST and PATCH; neither leaves anything behind."""
    schedule_id = await here.create(name="there before")
    stored = await here.scheduler.get(schedule_id)
    posted = await client.post("/schedules", content=content, headers=headers)
    patched = await client.patch(f"/schedules/{schedule_id}", content=content, headers=headers)
    assert (posted.status_code, patched.status_code) == (422, 422), (posted.text, patched.text)
    assert (await here.scheduler.list()).items == (stored,)
    faults: list[Any] = posted.json()["detail"]
    for fault in faults:
        assert {"type", "loc", "msg"} <= fault.keys() <= {"type", "loc", "msg", "input", "ctx"}
        assert fault["msg"]
    assert [fault["loc"] for fault in patched.json()["detail"]] == [fault["loc"] for fault in faults]
    return faults


PAYLOADS = {
    "NaN": '{"a":NaN}',
    "Infinity": '{"a":[-Infinity]}',
    "a number too large for a float": '{"a":1e999}',
    "a lone surrogate": '{"a":"\\ud83d"}',
    "a lone surrogate as key": '{"\\udc00":1}',
    "a NUL": '{"a":"x\\u0000"}',
    "a NUL as key": '{"a":{"\\u0000":1}}',
    "65 levels": '{"a":' * 65 + "1" + "}" * 65,
    "500 levels": '{"a":' * 500 + "1" + "}" * 500,
    "100,000 arrays": '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
    "100,000 objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "over 1 MiB": json.dumps({"a": "x" * MIB}),
    "over 3 MiB": json.dumps({"a": "x" * MIB * 3}),
    "600,000 arrays in a row": '{"a":[' + "[]," * 600_000 + "[]]}",
    "600,000 arrays after a text without end": '{"a":[' + "[]," * 600_000 + '"\\"',
    "an array": "[1]",
    "a text": '"a"',
    "a number": "NaN",
}


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
async def test_a_wrong_payload_is_named(here: World, client: httpx2.AsyncClient, payload: str) -> None:
    faults = await refused(here, client, body(payload=payload))
    assert [fault["loc"] for fault in faults] == [["body", "payload"]]


BODIES = {
    "not JSON": b"{",
    "Python": b"{'name': 'a'}",
    "two texts": body() + body(),
    "invalid UTF-8": body(description='"\xff"').replace("\xff".encode(), b"\xff"),
    "UTF-16": body().decode().encode("utf-16"),
    "encoded surrogates": body(description='"?"').replace(b"?", b"\xed\xa0\x80"),
    "blanks": b" \n ",
    "a list": b"[]",
    "null": b"null",
    "a number": b"1",
    "a text": b'"{}"',
    "5,000 digits": body(max_retries="9" * 5_000),
    "a key with a lone surrogate": body(**{"\\ud800": "1"}),
}


@pytest.mark.parametrize("content", BODIES.values(), ids=BODIES.keys())
async def test_what_is_no_object_is_refused(here: World, client: httpx2.AsyncClient, content: bytes) -> None:
    faults = await refused(here, client, content)
    assert {fault["loc"][0] for fault in faults} == {"body"}


FIELDS = {
    "name": [
        "null",
        "1",
        '""',
        '"a\\u0000"',
        '"\\ud800"',
        '"a/b"',
        "[" * 200 + "]" * 200,
        "NaN",
        json.dumps("x" * 256),
    ],
    "endpoint": ["null", '"x"', '"http://x/"', '"//x"', '"/a b"', '"/a\\n"', '"/\\u0000"'],
    "method": ["null", '"TRACE"', "1"],
    "description": ["1", '"\\u0000"', '"\\udfff"', json.dumps("x" * 1025)],
    "cron_expr": ['"0 0 30 2 *"', '"* * * * * *"', '"@reboot"', "1", '"0 0 * * *\\u0000"', json.dumps("1," * 100)],
    "timezone": ["null", '"Mars/Olympus"', '""', '"../../etc/passwd"', '"localtime"'],
    "timeout_seconds": ["null", "0", "86401", "NaN", "Infinity", "1.5", "true", '"x"', "9" * 400, "[]"],
    "max_retries": ["-1", "11", "null"],
    "retry_delay_seconds": ["0", "3601"],
    "overlap": ['"maybe"', "null"],
    "target": ['"moon"', '""'],
    "tags": ['"a"', '["\\ud800"]', json.dumps(["t"] * 21), "null"],
    "max_runs": ["0", "1e999"],
    "end_at": ['"2020-01-01"', '"soon"', "1767225600"],
}


@pytest.mark.parametrize(
    ("field", "raw"), [(field, raw) for field, values in FIELDS.items() for raw in values], ids=lambda value: value[:20]
)
async def test_a_wrong_field_is_named(here: World, client: httpx2.AsyncClient, field: str, raw: str) -> None:
    faults = await refused(here, client, body(**{field: raw}))
    assert {(fault["loc"][0], fault["loc"][1]) for fault in faults} == {("body", field)}


@pytest.mark.parametrize("raw", ['"2020-01-01T00:00:00Z"', '"x"', "1", '""'])
async def test_a_wrong_run_at_is_named(here: World, client: httpx2.AsyncClient, raw: str) -> None:
    faults = await refused(here, client, body(run_at=raw, cron_expr='""'))
    assert [fault["loc"] for fault in faults] == [["body", "run_at"]]


async def test_a_wrong_expression_tells_field_reason_and_position(here: World, client: httpx2.AsyncClient) -> None:
    (fault,) = await refused(here, client, body(cron_expr='"0 25 * * *"'))
    assert fault["loc"] == ["body", "cron_expr"]
    assert (fault["ctx"]["field"], fault["ctx"]["position"]) == ("hour", 2)
    assert fault["msg"] == f"hour: {fault['ctx']['reason']}"


async def test_every_wrong_field_is_told_at_once(here: World, client: httpx2.AsyncClient) -> None:
    faults = await refused(here, client, body(name="1", max_retries="99", cron="1", id='"x"', enabled="false"))
    messages = {fault["loc"][1]: fault["msg"] for fault in faults}
    assert messages.keys() == {"name", "max_retries", "cron", "id", "enabled"}
    assert messages["cron"] == "unknown field 'cron': did you mean 'cron_expr'?"
    assert messages["id"] == "'id' is read-only: leave it out"
    assert messages["enabled"] == "'enabled' cannot be written: use enable and disable"


async def test_what_was_answered_can_not_be_sent_back_unseen(here: World, client: httpx2.AsyncClient) -> None:
    made = (await client.post("/schedules", json=DRAFT | {"name": "mine"})).json()
    faults = (await client.patch(f"/schedules/{made['id']}", json=made)).json()["detail"]
    read_only = {fault["loc"][1] for fault in faults if "read-only" in fault["msg"]}
    assert {"id", "created_at", "next_run_at", "version", "explanation"} <= read_only


async def test_many_wrong_fields_make_a_short_answer(here: World, client: httpx2.AsyncClient) -> None:
    content = body(**{f"unknown{number}": "1" for number in range(400)})
    assert len(await refused(here, client, content)) == 20


async def test_too_many_fields_are_not_looked_at(here: World, client: httpx2.AsyncClient) -> None:
    (fault,) = await refused(here, client, body(**{f"unknown{number}": "1" for number in range(50_000)}))
    assert (fault["type"], fault["loc"]) == ("too_many_fields", ["body"])


async def test_what_stands_in_texts_are_no_values(client: httpx2.AsyncClient) -> None:
    content = body(payload=json.dumps({"text": ('\\"' + ",[{" * 1_000) * 200}))
    assert (await client.post("/schedules", content=content, headers=JSON)).status_code == 201


async def test_a_secret_payload_of_some_size_is_not_repeated(here: World, client: httpx2.AsyncClient) -> None:
    (fault,) = await refused(here, client, body(payload=json.dumps(["x" * 2_000])))
    assert "input" not in fault


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
async def test_other_content_types_are_refused(here: World, client: httpx2.AsyncClient, kind: str) -> None:
    (fault,) = await refused(here, client, body(), {"content-type": kind})
    assert fault["loc"] == ["body"]
    assert "application/json" in fault["msg"]


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "Application/JSON", "application/merge-patch+json"]
)
async def test_kinds_of_json_are_taken(client: httpx2.AsyncClient, kind: str) -> None:
    assert (await client.post("/schedules", content=body(), headers={"content-type": kind})).status_code == 201


async def test_no_body_is_refused(here: World, client: httpx2.AsyncClient) -> None:
    (fault,) = await refused(here, client, b"")
    assert (fault["type"], fault["loc"]) == ("missing", ["body"])


async def test_of_two_equal_keys_the_last_counts(client: httpx2.AsyncClient) -> None:
    content = body()[:-1] + b',"name":"second"}'
    assert (await client.post("/schedules", content=content, headers=JSON)).json()["name"] == "second"


async def test_a_byte_order_mark_is_no_error(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/schedules", content=b"\xef\xbb\xbf" + body(), headers=JSON)).status_code == 201


async def test_a_payload_of_the_allowed_size_and_depth_comes_back(client: httpx2.AsyncClient) -> None:
    deep: Any = {}
    for _ in range(62):
        deep = {"a": deep}
    payload = {"deep": deep, "text": "😀" * 260_000}
    # Escaped, this is three times as long: what counts is the JSON in UTF-8.
    response = await client.post("/schedules", content=json.dumps(DRAFT | {"payload": payload}), headers=JSON)
    assert response.status_code == 201
    one = f"/schedules/{response.json()['id']}"
    assert (await client.get(one)).json()["payload"] == payload
    assert (await client.get("/schedules")).json()["data"][0]["payload"] == payload


async def test_a_body_without_end_is_read_no_further_than_needed(client: httpx2.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65_536
            yield b"x" * 65_536

    response = await client.post("/schedules", content=endless(), headers=JSON)
    assert (response.status_code, response.headers["connection"]) == (413, "close")
    assert response.json() == {"detail": "The body is larger than 4,194,304 bytes (body_limit_bytes)"}
    assert sent <= 4 * MIB + 2 * 65_536


async def test_an_announced_size_is_believed(client: httpx2.AsyncClient) -> None:
    headers = JSON | {"content-length": str(100 * MIB)}
    response = await client.post("/schedules", content=b"{}", headers=headers)
    assert (response.status_code, response.headers["connection"]) == (413, "close")


async def test_the_limit_of_bodies_can_be_set(here: World) -> None:
    app = FastAPI()
    app.include_router(build_router(here.scheduler, here.runs, here.hub, limits=RequestLimits(body_bytes=1_024)))
    async with client_of(app) as small:
        made = await small.post("/schedules", content=body() + b" " * 900, headers=JSON)
        refusal = await small.patch(f"/schedules/{made.json()['id']}", content=b"{}" + b" " * 1_023, headers=JSON)
    assert (made.status_code, refusal.status_code) == (201, 413)
