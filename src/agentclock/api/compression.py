"""JSON answers of some size: put together and compressed beside the event loop."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from fastapi import Response
from pydantic import BaseModel

from agentclock.core.model import Json

#: Less is not worth it.
_LEAST_BYTES: Final = 1_000
_LEVEL: Final = 5

Row = TypeVar("Row")

_GZIP: Final = re.compile(r"(?:^|,)\s*(?:gzip|x-gzip|\*)\s*(?:;\s*q\s*=\s*([0-9.]{1,8})\s*)?(?:$|,)", re.IGNORECASE)


def accepts_gzip(accept_encoding: str | None) -> bool:
    """Whether a client takes it, going by what it sent (RFC 9110, 12.5.3)."""
    found = _GZIP.search(accept_encoding or "")
    if found is None:
        return False
    try:
        return found[1] is None or float(found[1]) > 0
    except ValueError:
        return False


async def compact_json(make: Callable[[], Json], accept_encoding: str | None) -> Response:
    """The JSON that `make` answers; it is called in a thread."""
    return await asyncio.to_thread(_compact_json, make, gzips=accepts_gzip(accept_encoding))


async def compact_list(
    rows: Sequence[Row], show: Callable[[Row], BaseModel], meta: BaseModel, accept_encoding: str | None
) -> Response:
    """A page of a list: `data` and `meta`. Row by row, as the event loop gets no turn while a single one is written."""

    def make() -> Response:
        data = ",".join(show(row).model_dump_json(by_alias=True) for row in rows)
        content = f'{{"data":[{data}],"meta":{meta.model_dump_json(by_alias=True)}}}'
        return _packed(content.encode(), gzips=accepts_gzip(accept_encoding))

    return await asyncio.to_thread(make)


def _compact_json(make: Callable[[], Json], *, gzips: bool) -> Response:
    content = json.dumps(make(), ensure_ascii=False, separators=(",", ":"))
    return _packed(content.encode("utf-8", "replace"), gzips=gzips)


def _packed(content: bytes, *, gzips: bool) -> Response:
    headers = {"vary": "Accept-Encoding"}
    if gzips and len(content) >= _LEAST_BYTES:
        content = gzip.compress(content, _LEVEL, mtime=0)
        headers["content-encoding"] = "gzip"
    return Response(content, media_type="application/json", headers=headers)
