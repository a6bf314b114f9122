"""`agentclock apply`, `diff`, `pull` and `schema`, as a person meets them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import structlog
from typer.testing import CliRunner, Result

from agentclock.cli.main import app
from agentclock.core.model import Schedule, Target
from agentclock.engine.clock import SystemClock
from agentclock.ports import PageRequest, ScheduleFilter, Store
from agentclock.store.sqlite import SqliteStore

ROOT = Path(__file__).parents[2]
Answer = TypeVar("Answer")

GOOD = """\
manager: team-a
defaults:
  timezone: Europe/Berlin
  endpoint: /agents/reporter/runs
schedules:
  nightly:
    cron_expr: "30 2 * * *"
    payload:
      message: |
        Summarise the day.
        Be brief.
  weekly:
    cron_expr: 0 9 * * mon
    enabled: false
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with an empty database and a file."""
    monkeypatch.chdir(tmp_path)
    within(lambda store: asyncio.sleep(0))
    (tmp_path / "good.yaml").write_text(GOOD)
    return tmp_path


def within(work: Callable[[Store], Any]) -> Any:
    """What `work` answers with the database."""

    async def run() -> Any:
        store = SqliteStore("clock.db", clock=SystemClock())
        await store.open()
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def rows() -> dict[str, Schedule]:
    page = within(lambda store: store.list_schedules(ScheduleFilter(), PageRequest(limit=1_000)))
    return {row.name: row for row in page.items}


def run(*arguments: str, stdin: str | None = None) -> Result:
    environment = {"COLUMNS": "200", "NO_COLOR": "1"}
    structlog.reset_defaults()  # as in a process of its own, whatever other tests have set up
    return CliRunner().invoke(app, [*arguments, "--database", "clock.db"], env=environment, input=stdin)


def shown(result: Result, code: int = 0) -> str:
    assert result.exit_code == code, result.output
    return result.stdout


def test_from_nothing_to_a_change_and_back(folder: Path) -> None:
    planned = shown(run("diff", "-f", "good.yaml"), 1)
    assert planned.endswith("2 to create, 0 to change, 0 unchanged, 0 to delete.\n")
    assert not rows()
    made = shown(run("apply", "-f", "good.yaml"))
    assert made.startswith("+ nightly\n    endpoint: /agents/reporter/runs\n    payload:\n      message: |\n")
    assert "At 02:30, every day, Europe/Berlin\n    ! 02:30 does not exist on" in made
    assert made.endswith("2 created, 0 changed, 0 unchanged, 0 deleted.\n")
    before = rows()

    assert shown(run("apply", "-f", "good.yaml")) == "Nothing to change. 2 schedules are as declared.\n"
    assert shown(run("diff", "-f", "-"), 2) == ""
    assert rows() == before

    (folder / "good.yaml").write_text(GOOD.replace("Be brief", "Be very brief").replace("0 9", "0 10"))
    assert shown(run("diff", "-f", "good.yaml"), 1) == (
        "~ nightly\n"
        "    payload:\n"
        "       message: |\n"
        "         Summarise the day.\n"
        "      -  Be brief.\n"
        "      +  Be very brief.\n"
        "~ weekly\n"
        "    cron_expr: 0 9 * * mon  →  0 10 * * mon\n"
        "    At 09:00, every Monday, Europe/Berlin  →  At 10:00, every Monday, Europe/Berlin\n"
        "\n"
        "0 to create, 2 to change, 0 unchanged, 0 to delete.\n"
    )
    assert "2 changed" in shown(run("apply", "-f", "good.yaml"))
    assert rows()["weekly"].cron_expr == "0 10 * * mon"


def test_a_broken_file_changes_nothing_and_names_its_lines(folder: Path) -> None:
    broken = GOOD.replace("30 2 * * *", "30 25 * * *").replace("enabled: false", "enabld: false")
    (folder / "broken.yaml").write_text(broken)
    result = run("apply", "-f", ".")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "broken.yaml:7:20: nightly: cron_expr: hour: 25 is not in 0-23\n"
        '        cron_expr: "30 25 * * *"\n'
        "                       ^\n"
        "broken.yaml:14:5: weekly: enabld: unknown field 'enabld': did you mean 'enabled'?\n"
        "        enabld: false\n"
        "        ^\n"
        "good.yaml:6:3: nightly: name: 'nightly' is declared already: broken.yaml:6:3\n"
        "      nightly:\n"
        "      ^\n"
        "good.yaml:12:3: weekly: name: 'weekly' is declared already: broken.yaml:12:3\n"
        "      weekly:\n"
        "      ^\n"
        "4 faults: nothing was changed\n"
    )
    assert not rows()
    told = json.loads(shown(run("diff", "-f", "broken.yaml", "--json"), 2))
    assert [(fault["line"], fault["schedule"], fault["field"]) for fault in told["faults"]] == [
        (7, "nightly", "cron_expr"),
        (14, "weekly", "enabld"),
    ]


def test_what_only_the_server_knows_is_told_with_its_line_too(folder: Path) -> None:
    text = "manager: {0}\nschedules:\n  {0}:\n    endpoint: /x\n    target: {1}\n"
    (folder / "good.yaml").write_text(text.format("first", "default") + "---\n" + text.format("second", "nowhere"))
    result = run("apply", "-f", "good.yaml")
    assert result.exit_code == 2
    assert result.stderr.startswith("good.yaml:11:13: second: target: unknown target 'nowhere': known are default\n")
    assert not rows()


def test_each_manager_prunes_its_own(folder: Path) -> None:
    (folder / "b.yaml").write_text("manager: team-b\nschedules: [{name: b, endpoint: /b}]\n")
    both = json.loads(shown(run("apply", "-f", ".", "--json")))
    assert (both["manager"], both["created"]) == (None, 3)
    assert [(row["manager"], row["name"]) for row in both["plan"]] == [
        ("team-b", "b"),
        ("team-a", "nightly"),
        ("team-a", "weekly"),
    ]
    less = '{"manager": "team-a", "schedules": [{"name": "nightly", "endpoint": "/x"}]}'
    kept = run("diff", "-f", "-", stdin=less)
    assert kept.stderr == "1 schedule is declared no more and stay, for want of --prune: weekly\n"
    pruned = shown(run("apply", "-f", "-", "--prune", stdin=less))
    assert pruned.endswith("- weekly\n\n0 created, 1 changed, 0 unchanged, 1 deleted.\n")
    assert sorted(rows()) == ["b", "nightly"]


def test_what_others_made_is_left_alone_until_it_is_adopted(folder: Path) -> None:
    by_hand = Schedule(id="s1", name="weekly", target=Target(endpoint="/x"))
    within(lambda store: store.insert_schedules([by_hand]))
    refused = run("apply", "-f", "good.yaml")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "'weekly' (nobody)" in refused.stderr
    assert "--adopt" in refused.stderr
    assert run("diff", "-f", "good.yaml").exit_code == 2
    assert list(rows()) == ["weekly"]
    assert "managed_by: null  →  apply:team-a" in shown(run("apply", "-f", "good.yaml", "--adopt"))


def test_what_is_pulled_changes_nothing(folder: Path) -> None:
    shown(run("apply", "-f", "good.yaml"))
    shown(run("apply", "-f", "-", stdin="{manager: b, schedules: {b: {endpoint: /b, tags: [x]}}}"))
    by_hand = [
        Schedule(id="s1", name="made by hand", target=Target(endpoint="/x")),
        Schedule(id="s2", name="of agno", target=Target(endpoint="/x"), managed_by="company"),
    ]
    within(lambda store: store.insert_schedules(by_hand))

    shown(run("pull", "--manager", "team-a", "-o", "pulled.yaml"))
    assert (folder / "pulled.yaml").read_text().startswith("# yaml-language-server: $schema=schedules.schema.json\nman")
    assert "Nothing to change" in shown(run("diff", "--prune", "-f", "pulled.yaml"))
    as_json = shown(run("pull", "-m", "team-a", "--json"))
    assert "Nothing to change" in shown(run("diff", "--prune", "-f", "-", stdin=as_json))

    everything = run("pull", "--all")
    assert "left out, for other software looks after them: of agno" in everything.stderr
    assert "apply them with --manager NAME --adopt" in everything.stderr
    adopted = shown(run("diff", "--adopt", "-f", "-", "-m", "c", stdin=everything.stdout), 1)
    assert adopted == (
        "~ made by hand\n    managed_by: null  →  apply:c\n\n0 to create, 1 to change, 3 unchanged, 0 to delete.\n"
    )


def test_pull_asks_whose_schedules_are_meant(folder: Path) -> None:
    of_two = [
        Schedule(id="s1", name="n", target=Target(endpoint="/ann"), user_id="ann", managed_by="apply:a"),
        Schedule(id="s2", name="n", target=Target(endpoint="/x"), managed_by="apply:a"),
    ]
    within(lambda store: store.insert_schedules(of_two))
    assert run("pull").exit_code == 2
    assert "say --owner with one of '', 'ann'" in run("pull", "-m", "a").stderr
    assert "/ann" in shown(run("pull", "-m", "a", "--owner", "ann"))
    assert "/ann" not in shown(run("pull", "-m", "a", "--owner", ""))


def test_the_schema_is_the_one_in_the_documentation() -> None:
    result = CliRunner().invoke(app, ["schema"])
    assert result.stdout == (ROOT / "docs/reference/schedules.schema.json").read_text()
