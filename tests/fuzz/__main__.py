"""Fuzzes all routes of a real server by its own description, and says what was wrong.

    python -m tests.fuzz --store sqlite --requests 20000 --seed 1

Half of the requests go to a server that everybody may use, half to one that asks for a key. Exits 1 if an answer was
not as described, or if no schedule fires afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests import pg
from tests.fuzz.hosting import hosted

ALIVE_SECONDS = 60


def _tell(failure: str) -> None:
    print(failure, flush=True)


async def main(store: str, requests: int, seed: int) -> int:
    failures = 0
    server = pg.PostgresServer() if store == "postgres" else None
    if server is not None:
        await asyncio.to_thread(server.start)
    try:
        with tempfile.TemporaryDirectory() as folder:
            for is_guarded in (False, True):
                database = server.dsn() if server is not None else str(Path(folder, f"fuzz-{is_guarded}.db"))
                began = time.monotonic()
                async with hosted(database, Path(folder), is_guarded=is_guarded) as host:
                    found = await host.fuzzed(requests // 2, seed, tell=_tell)
                    async with asyncio.timeout(ALIVE_SECONDS):
                        await host.is_alive()
                failures += len(found.failures)
                guarded = "with a key" if is_guarded else "open"
                print(f"{store}, {guarded}, seed {seed}, {time.monotonic() - began:.0f} s: {found.summary()}")
                print("A schedule fires.\n", flush=True)
    finally:
        if server is not None:
            await asyncio.to_thread(server.remove)
    return 1 if failures else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    sys.exit(asyncio.run(main(options.store, options.requests, options.seed)))
