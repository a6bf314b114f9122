"""A few seeds of the simulator; `make sim` runs hundreds. What it is, and how to read a violation:
docs/explanation/simulation.md."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.simulation.__main__ import main
from tests.simulation.databases import Database, Postgres, Sqlite
from tests.simulation.plan import PLANS, Happening, People, Plan, Workers, read_plan
from tests.simulation.simulate import simulate

#: Small worlds, in which much goes wrong.
DEFAULT = Plan(steps=12, check_every_steps=6)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    if request.param == "sqlite":
        found: Database = Sqlite()
    else:
        found = Postgres(request.getfixturevalue("postgres_dsn"))
    yield found
    found.close()


@pytest.mark.parametrize("seed", range(3))
def test_every_invariant_holds_whatever_happens(database: Database, seed: int) -> None:
    result = simulate(DEFAULT, seed, database)
    assert result.violation is None
    assert result.counts["requests that targets accepted"] > 0
    assert result.counts["crashes"] + result.counts["deployments"] > 0


@pytest.mark.parametrize("name", ["leases", "targets"])
def test_a_seed_goes_the_same_way_every_time(database: Database, name: str) -> None:
    plan = read_plan(PLANS / f"{name}.toml")
    first, second, other = (simulate(plan, seed, database) for seed in (1, 1, 2))
    assert first.trace == second.trace
    assert first.counts == second.counts
    assert first.trace != other.trace


def test_a_plan_says_what_happens_at_which_store_call(database: Database) -> None:
    quiet = _without_faults()
    events = [
        Happening(step=2, action="crash", after="fire_due", seconds=1),
        Happening(step=4, action="crash", before="settle", seconds=1),
        Happening(step=5, action="lose_reply", after="renew_lease"),
        Happening(step=6, action="freeze", seconds=40),
        Happening(step=7, action="database_away", seconds=20),
        Happening(step=8, action="database_clock", seconds=500),
        Happening(step=9, action="deploy", seconds=2),
    ]
    counts = simulate(quiet.model_copy(update={"events": events}), 3, database).counts
    told = ("crashes", "commits whose reply was not heard", "lost replies", "freezes", "clock jumps", "deployments")
    assert [counts[what] for what in told] == [2, 1, int(database.loses_replies), 1, 1, 1]
    assert counts["times the database was away"] == 1


def test_nothing_is_wrong_where_nothing_goes_wrong(database: Database) -> None:
    result = simulate(_without_faults(), 3, database)
    assert result.violation is None
    assert result.counts["runs"] > 20
    assert not result.counts["workers declared dead"] + result.counts["runs taken over"] + result.counts["crashes"]


def _without_faults() -> Plan:
    never = {"probability": 0}
    lasting = {"probability": 0, "seconds": [0, 0]}
    jump = {"probability": 0, "seconds": [0]}
    faults = dict.fromkeys(("crash", "slow_call", "database_away", "frozen", "suspended", "deploy"), lasting)
    faults |= {"host_away": lasting, "skew": jump, "database_clock": jump, "lost_reply": never, "failed_call": never}
    faults |= {"wakeups": {"lost": 0, "duplicated": 0, "spurious": 0}}
    return Plan(
        steps=10,
        step_seconds=[20],
        leap_probability=0,
        schedules={"expressions": ["* * * * *"], "intervals_seconds": [7], "catch_up_limit": [5]},  # type: ignore[arg-type]
        workers=Workers(count=[1, 1], lease_seconds=[10]),  # type: ignore[arg-type]
        faults=faults,  # type: ignore[arg-type]
        people=People(probability=0),
    )


def test_the_command_line_tells_how_it_went(capsys: pytest.CaptureFixture[str]) -> None:
    plan = str(PLANS / "targets.toml")
    assert main(["--seed", "1", "--store", "sqlite", "--plan", plan, "--workers", "1", "--twice"]) == 0
    said = capsys.readouterr().out
    assert "seed 1 on sqlite: trace " in said
    assert "0 violations" in said
