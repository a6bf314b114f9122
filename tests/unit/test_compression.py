"""Lists that are written beside the event loop."""

from __future__ import annotations

import gzip
import json
import threading

import pytest
from pydantic import BaseModel, Field

from agentclock.api.compression import compact_list


class Line(BaseModel):
    number: int
    text: str = Field(alias="from")


def line(number: int) -> Line:
    return Line.model_validate({"number": number, "from": "ä" * 100})


@pytest.mark.parametrize("accepted", [None, "gzip"])
async def test_a_list_is_what_its_rows_are_and_takes_no_time_of_the_loop(accepted: str | None) -> None:
    threads: set[int] = set()

    def show(number: int) -> Line:
        threads.add(threading.get_ident())
        return line(number)

    answer = await compact_list(range(20), show, line(99), accepted)
    assert threads
    assert threading.get_ident() not in threads
    assert (answer.headers.get("content-encoding"), answer.headers["vary"]) == (accepted, "Accept-Encoding")
    content = gzip.decompress(bytes(answer.body)) if accepted else bytes(answer.body)
    shown = [line(number).model_dump(by_alias=True) for number in range(20)]
    assert json.loads(content) == {"data": shown, "meta": line(99).model_dump(by_alias=True)}


async def test_nothing_is_an_empty_list() -> None:
    answer = await compact_list((), line, line(0), "gzip")
    assert json.loads(bytes(answer.body))["data"] == []
    assert "content-encoding" not in answer.headers
