"""The rig works: half a minute with one fault of each kind, and it says of it what is there. Long runs:
`python -m tests.chaos`."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.chaos.faults import Fault, Kind
from tests.chaos.rig import Options, carry_out

pytestmark = pytest.mark.timeout(300)

#: In an order that leaves each its effect: nothing befalls the database while it is away already.
SCRIPT = (
    (1, Kind.DB_CUT, 0, 0),
    (2, Kind.NET_CUT, 0, 0),
    (3, Kind.FREEZE, 3, 3),
    (4, Kind.DB_STALL, 1, 1),
    (6, Kind.KILL, 1, 2),
    (7, Kind.NET_STALL, 1, 0),
    (9, Kind.PG_RESTART, 0, 0),
    (12, Kind.OS_KILL, 1, 0),
    (13, Kind.PG_KILL, 2, 0),
    (17, Kind.ROLL, 0, 1),
    (19, Kind.DB_REFUSE, 2, 0),
)


def script() -> list[Fault]:
    return [Fault(at_seconds=at, kind=kind, seconds=seconds, victim=who) for at, kind, seconds, who in SCRIPT]


async def test_one_fault_of_each_kind_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    options = Options(
        minutes=25 / 60,
        workers=3,
        seed="smoke",
        fires_per_second=8,
        lease_seconds=2,
        is_postgres=True,
        folder=tmp_path,
    )
    found = await carry_out(options, script())
    assert found.violations == ()
    assert set(found.faults) == set(Kind)
    assert found.fires_due > 100
    assert found.agent_starts > 0
    assert found.recoveries > 0


async def test_kills_on_one_file_that_three_processes_share(tmp_path: Path) -> None:
    options = Options(
        minutes=10 / 60,
        workers=3,
        seed="file",
        fires_per_second=5,
        lease_seconds=2,
        is_postgres=False,
        folder=tmp_path,
    )
    kills = [Fault(at_seconds=3.0 * n, kind=Kind.KILL, seconds=0.5, victim=n) for n in (1, 2, 3)]
    found = await carry_out(options, kills)
    assert found.violations == ()
    assert found.faults == {Kind.KILL: 3}
    assert found.fires_due > 30
