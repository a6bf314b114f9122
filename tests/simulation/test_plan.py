"""Fault plans are written by hand: what is wrong with one is said by the name of its field."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.simulation.__main__ import main
from tests.simulation.plan import PLANS, Plan, PlanError, read_plan


def written(folder: Path, text: str) -> Path:
    path = folder / "plan.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted(PLANS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_plans_that_come_along_can_be_used(path: Path) -> None:
    assert read_plan(path).name == path.stem


def test_the_example_has_every_field_and_the_defaults() -> None:
    """Whoever copies it starts from what `make sim` does."""
    example, default = (plan.model_dump() for plan in (read_plan(PLANS / "example.toml"), Plan()))
    assert example.keys() == default.keys()
    unlike = {field for field in default if example[field] != default[field]}
    assert unlike == {"name", "events"}


def test_what_a_plan_leaves_out_is_as_by_default(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, "[faults.crash]\nprobability = 0.5\nseconds = [1, 2]\n"))
    assert (plan.faults.crash.probability, plan.faults.crash.seconds.most) == (0.5, 2)
    assert plan.faults.frozen == Plan().faults.frozen
    assert plan.workers == Plan().workers


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("steps = 0", "steps"),
        ("stepz = 3", "stepz"),
        ("[faults.crash]\nprobability = 1.5\nseconds = [1, 2]", "faults.crash.probability"),
        ("[faults.crash]\nprobability = 0.5", "faults.crash.seconds"),
        ("[faults.frozen]\nprobability = 0.5\nseconds = [9, 2]", "faults.frozen.seconds"),
        ("[faults.frozen]\nprobability = 0.5\nseconds = 9", "faults.frozen.seconds"),
        ("[faults.targets]\nsuccess = -1", "faults.targets.success"),
        ("[workers]\ncount = [0, 2]", "workers.count"),
        ("[workers]\nlease_seconds = []", "workers.lease_seconds"),
        ("[schedules]\nexpressions = ['61 * * * *']", "schedules.expressions"),
        ("[schedules]\ntimezones = ['Mars/Olympus']", "schedules.timezones"),
        ("[schedules]\noverlap = ['sometimes']", "schedules.overlap.0"),
        ("begins = ['yesterday']", "begins.0"),
        ("begins = [2026-03-28T12:00:00]", "begins"),
        ("[[events]]\nstep = 1\naction = 'explode'", "events.0.action"),
        ("[[events]]\nstep = 1\naction = 'crash'\nafter = 'lunch'", "events.0"),
        ("[[events]]\nstep = 1\naction = 'lose_reply'", "events.0"),
        ("steps = 3\n[[events]]\nstep = 4\naction = 'crash'", "events.0.step"),
        ("[[events]]\nstep = 4\nworker = 9\naction = 'crash'", "events.0.worker"),
        ("stores = ['mysql']", "stores.0"),
    ],
)
def test_an_error_names_the_file_and_the_field(tmp_path: Path, text: str, field: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(PlanError) as caught:
        read_plan(path)
    assert str(caught.value).startswith(f"{path}: {field}")


def test_the_command_line_refuses_what_is_no_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--plan", str(written(tmp_path, "steps = "))]) == 2
    assert main(["--plan", str(tmp_path / "none.toml")]) == 2
    assert main(["--plan", str(PLANS / "leases.toml"), "--store", "sqlite"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert ["is no TOML" in told[0], "cannot be read" in told[1], "not for sqlite" in told[2]] == [True, True, True]
