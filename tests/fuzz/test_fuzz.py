"""A small round of fuzzing; `make fuzz` makes the long ones."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.hosting import hosted


async def test_no_request_is_answered_in_another_way_than_described(tmp_path: Path) -> None:
    async with hosted(str(tmp_path / "fuzz.db"), tmp_path, is_guarded=True) as host:
        found = await host.fuzzed(200, seed=7)
        assert not found.failures, found.report()
        assert await host.is_alive()
    assert found.requests == 200
    # Each of so many routes has a turn or two; of what only a few of them answer not all is among it each time.
    assert {200, 404, 422} <= found.statuses.keys()
    assert found.statuses.keys() & {201, 202, 204, 409}
