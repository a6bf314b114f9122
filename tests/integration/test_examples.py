"""The examples, run as anybody runs them, and what they print."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import Final

import pytest
from tests.pg import Database

FOLDER: Final = Path(__file__).parents[2] / "examples"
RUNNER: Final = Path(__file__).parents[1] / "example_runner.py"
SCRIPTS: Final = sorted(FOLDER.glob("[0-9]*.py"))

#: A process imports agno, starts a server and waits for its own schedules; other tests may want the machine too.
pytestmark = pytest.mark.timeout(300)

#: What stands in an example's output, in this order, each as a whole line. `.*` is for words of the model and times.
PRINTED: Final = {
    "01_basic_scheduler.py": [
        r"daily-greeting: At 07:00, Monday to Friday, Europe/Berlin, next at 20\d\d-\d\d-\d\dT0[56]:00:00\.000Z",
        r"due 20\S+, success: .*Say hello to the person who tries this out.*",
        r"due 20\S+, success: .*Say hello to the person who tries this out.*",
    ],
    "02_schedule_agent_runs.py": [
        r"hourly-weather \(0 \* \* \* \*\): success, session hourly-weather",
        r".*What is the forecast\?.*",
        r"morning-report \(0 8 \* \* \*\): success, session morning-report",
        r".*Write this morning's report\..*",
        r"runs of morning-report: 1, the last one a success",
    ],
    "03_schedule_workflow.py": [
        r"workflow morning-report: success",
        r".*Yesterday 42 orders came in, worth 1,554 euros.*",
        r" +\d+ tokens",
        r"team newsroom: success",
        r" +The team reports: .*Yesterday 42 orders came in.*",
        r" +\d+ tokens",
    ],
    "04_async_scheduler.py": [
        r"10 schedules are due at \d\d:\d\d:\d\d; each keeps its agent busy for a second",
        r"10 ran well, all of them within \d+\.\d s",
        r"started \d+ to \d+ ms after they were due",
    ],
    "05_manual_trigger.py": [
        r"Only when triggered; next fire: None",
        r"trigger waits for the end: 200, success",
        r"with wait=0 it answers at once: 202, pending",
        r"the Location header leads to its end: success",
        r"a third and a fourth at once: pending, skipped \(overlap: the previous run was still active\)",
        r"cancelled in the middle: cancelled",
        r"disabled: 409, Schedule is disabled",
    ],
    "06_live_events.py": [
        r"the agent calls orders_since_yesterday",
        r".*\.\.\. connection lost, and back: .*",
        r"the end: success, \d+ tokens",
    ],
    "07_self_scheduling_agent.py": [
        r"Brief me every morning on weekdays\.",
        r"  -> morning-brief was made",
        r"Ask me every minute whether it is done\.",
        r"  -> This timetable has fires only 60 s apart, .*",
        r"morning-brief: At 07:30, Monday to Friday, Europe/Rome, made via tools",
        r"  it runs: success: .*Tell me what is on today\..*",
    ],
    "08_approval_at_night.py": [
        r"nightly-payments waits: confirmation of pay_invoice\{'number': '2026-117', 'euros': 1200\}",
        r"  approve: success: .*Invoice 2026-117 is paid: 1200 euros\..*",
        r"nightly-payments waits: confirmation of pay_invoice.*",
        r"  reject: success: .*The budget of this month is spent\..*",
        r"left in the inbox: 0",
    ],
    "09_postgres_containers.py": [
        r"12 runs by [12] workers",
        r"one of the two is killed",
        r"8 runs later by 1 worker",
        r"fires that were due: (\d+), on record: \1",
    ],
    "10_receiver.py": [
        r"the same request again: it waits for the answer to the first",
        r"attempt 1: timeout",
        r"attempt 2: success",
        r'the answer: \{"report":"sales","number":1\}',
        r"reports written: 1",
    ],
}


class Printed:
    """What the examples printed; the last words of one that failed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def lines(self, script: str) -> list[str]:
        said, complained, code = (self._read(script, ending) for ending in ("out", "err", "code"))
        assert code == "0", (said + complained)[-4000:]
        return said.splitlines()

    def _read(self, script: str, ending: str) -> str:
        return (self._folder / f"{script}.{ending}").read_text(encoding="utf-8")


async def run_examples(folder: Path, *scripts: str, **environment: str) -> Printed:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(RUNNER),
        str(folder),
        *(str(FOLDER / script) for script in scripts),
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
    )
    assert await process.wait() == 0
    return Printed(folder)


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Printed:
    """All the examples that need nothing but themselves."""
    folder = tmp_path_factory.mktemp("printed")
    return asyncio.run(run_examples(folder, *(path.name for path in SCRIPTS if not path.name.startswith("09"))))


def check(script: str, lines: list[str]) -> None:
    """Every expected line is there, in order; others, such as warnings on a slow machine, may stand between."""
    left = iter(lines)
    for expected in PRINTED[script]:
        assert any(re.fullmatch(expected, line) for line in left), f"{expected!r} is missing in:\n" + "\n".join(lines)


@pytest.mark.parametrize("script", [path.name for path in SCRIPTS if path.name[:2] not in ("06", "09")])
def test_an_example_does_what_it_says(script: str, offline: Printed) -> None:
    check(script, offline.lines(script))


def test_the_words_of_a_watched_agent_arrive_once(offline: Printed) -> None:
    lines = offline.lines("06_live_events.py")
    check("06_live_events.py", lines)
    (story,) = [line for line in lines if "connection lost" in line]
    words = story.replace("... connection lost, and back: ", "")
    assert words.count("42 orders since yesterday.") == 1, story


@pytest.mark.postgres
async def test_the_example_on_postgres(postgres_server: Database, tmp_path: Path) -> None:
    script = "09_postgres_containers.py"
    printed = await run_examples(tmp_path, script, AGENTCLOCK_TEST_PG_URL=postgres_server.dsn())
    check(script, printed.lines(script))


def test_every_example_is_tested_and_listed() -> None:
    names = {path.name for path in SCRIPTS}
    assert PRINTED.keys() == names
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert not [name for name in names | {"serving.py"} if f"]({name})" not in text]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_an_example_says_how_to_run_it_and_stays_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert f"python examples/{path.name}\n" in text
    assert len(text.splitlines()) <= 85
