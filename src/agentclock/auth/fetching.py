"""Key sets over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import aiohttp

from agentclock.auth.jwks import KEY_SET_BYTES
from agentclock.auth.sources import Fetch

FETCH_SECONDS: Final = 10


def fetcher(open_session: Callable[[], aiohttp.ClientSession]) -> Fetch:
    """`open_session` makes the session for one fetch; where it may lead is the session's business. Redirects are not
    followed, and what is larger than a key set may be is not read."""

    async def fetch(url: str) -> bytes:
        content = bytearray()
        async with (
            asyncio.timeout(FETCH_SECONDS),
            open_session() as session,
            session.get(url, allow_redirects=False, headers={"Accept": "application/json"}) as response,
        ):
            if response.status != 200:
                raise ValueError(f"it answers with status {response.status}")
            async for chunk in response.content.iter_chunked(65_536):
                content += chunk
                if len(content) > KEY_SET_BYTES:
                    raise ValueError(f"it is larger than {KEY_SET_BYTES:,} bytes")
        return bytes(content)

    return fetch
