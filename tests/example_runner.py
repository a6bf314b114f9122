"""Runs examples, each in a process of its own: `python tests/example_runner.py OUTPUT_FOLDER SCRIPT...`

What takes an example longest is to import agno. Here that is done once, and each script starts from there by a fork.
Its output goes to `<script>.out` and `<script>.err`, its exit code to `<script>.code`.
"""

from __future__ import annotations

import atexit
import gc
import os
import runpy
import sys
import threading
import traceback
from pathlib import Path

import agno.db.sqlite
import agno.os
import agno.scheduler
import agno.tools.scheduler
import agno.workflow
import httpcore
import httpx
import uvicorn

import agentclock.agno.hosting
import agentclock.agno.offline

#: So many at a time: mostly they wait for something to become due.
AT_ONCE = 3
PRELOADED = (agno, httpcore, httpx, uvicorn, agentclock)


def main(folder: Path, scripts: list[str]) -> None:
    gc.freeze()  # nothing that is imported goes away again: no child need look at it
    assert threading.active_count() == 1, "a fork would copy locks that other threads hold"
    running: dict[int, Path] = {}
    for script in map(Path, scripts):
        if len(running) == AT_ONCE:
            reap(running)
        running[start(folder, script)] = folder / f"{script.name}.code"
    while running:
        reap(running)


def start(folder: Path, script: Path) -> int:
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    for number, ending in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / f"{script.name}.{ending}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
    os._exit(run(script))


def run(script: Path) -> int:
    sys.argv = [str(script)]
    sys.path[0] = str(script.parent)
    code = 0
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def reap(running: dict[int, Path]) -> None:
    pid, status = os.wait()
    running.pop(pid).write_text(str(os.waitstatus_to_exitcode(status)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
