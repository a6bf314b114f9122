"""A simulator that finds nothing proves nothing: known mistakes, planted one at a time, must come to light, and the
program without them must pass the same seeds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from tests.simulation.databases import Database, Postgres, Sqlite
from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.plan import PLANS, read_plan
from tests.simulation.simulate import simulate

SEEDS = 200

#: Whether the program as it is passes a seed of a plan on a store; each is asked once.
Passes = Callable[[str, str, int], bool]


@pytest.fixture(scope="module")
def databases(postgres_dsn: str) -> Iterator[dict[str, Database]]:
    found: dict[str, Database] = {"sqlite": Sqlite(), "postgres": Postgres(postgres_dsn)}
    yield found
    for database in found.values():
        database.close()


@pytest.fixture(scope="module")
def passes(databases: dict[str, Database]) -> Passes:
    known: dict[tuple[str, str, int], bool] = {}

    def ask(plan: str, store: str, seed: int) -> bool:
        key = (plan, store, seed)
        if key not in known:
            known[key] = simulate(read_plan(PLANS / f"{plan}.toml"), seed, databases[store]).violation is None
        return known[key]

    return ask


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_planted_mistake_is_found(mutant: Mutant, databases: dict[str, Database], passes: Passes) -> None:
    plan = read_plan(PLANS / f"{mutant.plan}.toml")
    for seed in range(SEEDS):
        violation = simulate(plan, seed, databases[mutant.store], mutant.mutation).violation
        if violation is not None:
            break
    else:
        pytest.fail(f"{mutant.name}: not found within {SEEDS} seeds")
    print(f"{mutant.name}: found by seed {seed}, the {seed + 1}. that was tried")
    assert re.search(mutant.sign, violation), violation
    assert all(passes(mutant.plan, mutant.store, earlier) for earlier in range(seed + 1))
