"""Real processes, real databases, and minutes of everything that can go wrong, dealt from a seed.

    python -m tests.chaos --minutes 10 --workers 3

Exits 1 if anything contradicts what is promised, and keeps all records of such a run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from tests.chaos.report import show
from tests.chaos.rig import Options, carry_out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", default=None, help="default: another one each time; it is printed")
    parser.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--fires-per-second", type=float, default=10.0)
    parser.add_argument("--lease-seconds", type=float, default=5.0)
    parser.add_argument("--keep", type=Path, default=None, help="new folder for logs and records, kept in any case")
    parser.add_argument("--json", action="store_true", help="a line of JSON on stdout after the table")
    given = parser.parse_args()
    folder = given.keep or Path(tempfile.mkdtemp(prefix="agentclock-chaos-"))
    folder.mkdir(parents=True, exist_ok=given.keep is None)
    options = Options(
        minutes=given.minutes,
        workers=given.workers,
        seed=given.seed or secrets.token_hex(4),
        fires_per_second=given.fires_per_second,
        lease_seconds=given.lease_seconds,
        is_postgres=given.database == "postgres",
        folder=folder,
    )
    print(f"chaos: seed {options.seed}, records in {folder}", file=sys.stderr, flush=True)
    found = asyncio.run(carry_out(options))
    show(found, Console(width=140))
    if given.json:
        print(json.dumps(found.as_json()))
    if found.violations:
        print(f"Everything on record is in {folder}; the same faults again: --seed {options.seed}", file=sys.stderr)
        return 1
    if given.keep is None:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
