"""Summary, statistics, accounts in a list, failures in groups."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from tests.apis import WORKER, World, app_of, client_of
from tests.insight_help import (
    BOTH_STORES,
    DAY,
    HOUR,
    MINUTE,
    START,
    Past,
    client_of_many,
    schedule_with_past,
    world_on,
)

from agentclock.core.fingerprints import fingerprint
from agentclock.core.ids import spread_ms
from agentclock.core.instants import iso_utc
from agentclock.core.model import Outcome, OutcomeKind, RunStatus, Usage
from agentclock.core.planning import plan
from agentclock.insight import failures, ranking, statistics


@pytest.fixture(params=BOTH_STORES)
async def here(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with world_on(request) as made:
        yield made


@pytest.fixture
async def client(here: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app_of(here)) as made:
        yield made


async def asked(client: httpx2.AsyncClient, path: str, **headers: str) -> Any:
    answer = await client.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def fired(here: World, seconds_late: int = 0) -> None:
    """Lets whatever is due fire."""
    here.clock.advance(seconds_late)
    await here.store.fire_due(plan, limit=100)


# the summary


async def test_the_summary_of_nothing(client: httpx2.AsyncClient) -> None:
    assert await asked(client, "/schedules/summary") == {
        "schedules": {"total": 0, "enabled": 0, "disabled": 0},
        "runs": {"pending": 0, "running": 0, "paused": 0},
        "last_24_h": dict.fromkeys(
            ("success", "failed", "timeout", "cancelled", "lost", "skipped", "missed"), 0
        ),
        "next_fire": None,
        "lateness_ms": None,
        "due_lag_ms": 0,
        "queue_lag_ms": 0,
        "workers_alive": 0,
    }  # fmt: skip


async def test_the_summary_tells_how_things_stand(here: World, client: httpx2.AsyncClient) -> None:
    past = await schedule_with_past(here, name="often", cron_expr="*/10 * * * *")
    off = await schedule_with_past(here, name="off")
    await here.scheduler.disable(off.schedule_id)
    await past.run(START - DAY - 1, "failed")
    await past.run(START - DAY)
    for number, late_ms in enumerate((1, 2, 3, 900)):
        at = START - (number + 1) * HOUR
        await past.run(at, started_at=at + late_ms)
    await past.missed(START - 30 * MINUTE, START - 20 * MINUTE, 2)
    await here.scheduler.trigger(past.schedule_id)
    await here.claim()
    here.clock.advance(610)
    found = await asked(client, "/schedules/summary")
    assert found["schedules"] == {"total": 2, "enabled": 1, "disabled": 1}
    assert found["runs"] == {"pending": 0, "running": 1, "paused": 0}
    assert (found["last_24_h"]["success"], found["last_24_h"]["failed"], found["last_24_h"]["missed"]) == (4, 0, 2)
    assert found["next_fire"] == {
        "at": iso_utc(START + 10 * MINUTE),
        "schedule_id": past.schedule_id,
        "schedule_name": "often",
    }
    assert found["lateness_ms"] == {"p50": 2, "p99": 900, "max": 900, "runs": 4}
    assert (found["due_lag_ms"], found["queue_lag_ms"], found["workers_alive"]) == (10_000, 0, 0)
    await here.store.acquire_engine(WORKER, 60)
    assert (await asked(client, "/schedules/summary"))["workers_alive"] == 1


# statistics


async def test_figures_of_a_schedule(here: World, client: httpx2.AsyncClient) -> None:
    past = await schedule_with_past(here, name="one", jitter_seconds=30)
    delay = spread_ms(past.schedule_id, 30)
    for number, (status, late_ms, took_ms) in enumerate(
        [("success", 1, 100), ("success", 2, 200), ("failed", 3, 300), ("lost", 4, 400), ("cancelled", 5, 500)]
    ):
        began = START - (number + 1) * HOUR + delay + late_ms
        await past.run(START - (number + 1) * HOUR, status, started_at=began, completed_at=began + took_ms)
    await past.missed(START - 9 * HOUR, START - 8 * HOUR, 2)
    found = await asked(client, f"/schedules/{past.schedule_id}/statistics")
    series = found.pop("series")
    assert found == {
        "schedule_id": past.schedule_id,
        "schedule_name": "one",
        "enabled": True,
        "runs": 5,
        "success": 2,
        "unsuccessful": 2,
        "success_rate": 0.5,
        "duration_ms": {"p50": 300, "p95": 500, "max": 500},
        "lateness_ms": {"p50": 3, "p99": 5, "max": 5, "runs": 5},
        "total_tokens": None,
        "cost": None,
        "is_sample": False,
    }
    assert series["fire_at_ms"] == sorted(series["fire_at_ms"])
    assert series["status"] == ["missed", "cancelled", "lost", "failed", "success", "success"]
    assert series["lateness_ms"] == [None, 5, 4, 3, 2, 1]
    assert series["duration_ms"] == [None, 500, 400, 300, 200, 100]
    assert {len(column) for column in series.values()} == {6}
    part = await asked(
        client, f"/schedules/{past.schedule_id}/statistics?from={START - 2 * HOUR}&to={START - HOUR + 1}"
    )
    assert (part["runs"], part["success"]) == (2, 2)
    row = (await asked(client, "/schedules/statistics"))["data"][0]
    assert row.pop("ranked_by") is None
    assert row == found


async def test_what_runs_used_up_is_added_up(here: World, client: httpx2.AsyncClient) -> None:
    past = await schedule_with_past(here, name="one", cron_expr="")
    for tokens, cost in ((100, 0.25), (20, None)):
        await here.scheduler.trigger(past.schedule_id)
        usage = Usage(model="m", total_tokens=tokens, cost=cost)
        await here.execute(Outcome(kind=OutcomeKind.SUCCESS, usage=usage))
        here.clock.advance(1)
    found = await asked(client, f"/schedules/{past.schedule_id}/statistics")
    assert (found["total_tokens"], found["cost"], found["lateness_ms"]) == (120, 0.25, None)
    assert (found["series"]["total_tokens"], found["series"]["cost"]) == ([100, 20], [0.25, None])


async def three(here: World) -> dict[str, Past]:
    """b is late and slow, c fails, a runs most."""
    made = {name: await schedule_with_past(here, name=name, tags=["t"]) for name in ("c", "a", "b")}
    await schedule_with_past(here, name="D never ran")
    for number in range(4):
        await made["a"].run(START - (number + 1) * HOUR)
    at = START - HOUR
    await made["b"].run(at, started_at=at + 500, completed_at=at + 99_000)
    await made["b"].run(at - HOUR)
    await made["c"].run(at, "failed", started_at=at + 50, completed_at=at + 60)
    return made


@pytest.mark.parametrize(
    ("order", "names", "weights"),
    [
        ("name", ["a", "b", "c", "D never ran"], [None] * 4),
        ("lateness", ["b", "c", "a", "D never ran"], [500, 50, 5, None]),
        ("duration", ["b", "a", "c", "D never ran"], [98_500, 1_000, 10, None]),
        ("failures", ["c", "a", "b", "D never ran"], [1, None, None, None]),
        ("runs", ["a", "b", "c", "D never ran"], [4, 2, 1, None]),
    ],
)
async def test_statistics_come_in_the_order_asked_for(
    here: World, client: httpx2.AsyncClient, order: str, names: list[str], weights: list[int | None]
) -> None:
    await three(here)
    found = await asked(client, f"/schedules/statistics?sort={order}")
    assert [row["schedule_name"] for row in found["data"]] == names
    assert [row["ranked_by"] for row in found["data"]] == weights
    assert (found["schedules_total"], found["schedules_compared"], found["meta"]["total_count"]) == (4, 4, 4)
    second = await asked(client, f"/schedules/statistics?sort={order}&limit=1&page=2")
    assert [row["schedule_name"] for row in second["data"]] == names[1:2]
    assert second["meta"]["total_pages"] == 4
    narrow = await asked(client, f"/schedules/statistics?sort={order}&tag=t")
    assert [row["schedule_name"] for row in narrow["data"]] == [name for name in names if len(name) == 1]


async def test_of_too_many_schedules_those_with_the_most_are_compared(
    here: World, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await three(here)
    monkeypatch.setattr(ranking, "COMPARED_SCHEDULES", 2)
    for query, names in {"lateness": "ba", "failures": "c", "runs": "ab", "runs&tag=t": "ab"}.items():
        found = await asked(client, f"/schedules/statistics?sort={query}")
        assert [row["schedule_name"] for row in found["data"]] == list(names)
        assert found["schedules_total"] == (3 if "tag" in query else 4)
        assert (found["schedules_compared"], found["meta"]["total_count"]) == (len(names), len(names))


async def test_more_runs_than_are_looked_at_are_a_sample(
    here: World, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "LISTED_RUNS", 3)
    made = await three(here)
    rows = {row["schedule_name"]: row for row in (await asked(client, "/schedules/statistics"))["data"]}
    assert (rows["a"]["runs"], rows["a"]["is_sample"], rows["b"]["is_sample"]) == (3, True, False)
    monkeypatch.setattr(statistics, "SERIES_RUNS", 3)
    found = await asked(client, f"/schedules/{made['a'].schedule_id}/statistics")
    assert (found["is_sample"], found["series"]["fire_at_ms"][0]) == (True, START - 3 * HOUR)


async def test_there_are_no_statistics_of_what_is_not_there(client: httpx2.AsyncClient) -> None:
    for schedule_id in ("nonsense", "00000000-0000-7000-8000-000000000000", "%00"):
        assert (await client.get(f"/schedules/{schedule_id}/statistics")).status_code == 404


# accounts


async def test_accounts_balance_for_each_schedule(here: World, client: httpx2.AsyncClient) -> None:
    busy = await schedule_with_past(here, name="busy", cron_expr="*/10 * * * *", catch_up="none")
    await schedule_with_past(here, name="calm")
    await fired(here, 600)
    await here.execute()
    await fired(here, 1800)
    row, calm = (await asked(client, "/schedules/accounts"))["data"]
    assert row == {
        "schedule_id": busy.schedule_id,
        "schedule_name": "busy",
        "enabled": True,
        "due": 4,
        "runs": 2,
        "skipped": 0,
        "missed": 2,
        "balanced": True,
        "trouble": None,
        "overdue_ms": 0,
    }
    assert (calm["due"], calm["balanced"]) == (0, True)
    part = await asked(client, f"/schedules/accounts?to={START + 20 * MINUTE}&name=busy")
    assert [(one["due"], one["runs"], one["missed"]) for one in part["data"]] == [(1, 1, 0)]


async def test_accounts_say_what_is_wrong(here: World, client: httpx2.AsyncClient) -> None:
    await schedule_with_past(here, name="often", cron_expr="*/10 * * * *")
    here.clock.advance(900)
    (row,) = (await asked(client, "/schedules/accounts"))["data"]
    assert (row["balanced"], row["overdue_ms"]) == (True, 300_000)
    assert row["trouble"] == "due 300 s ago and not planned: no engine runs"


async def test_accounts_come_by_name_and_page(here: World, client: httpx2.AsyncClient) -> None:
    for name in ("b", "C", "a"):
        await schedule_with_past(here, name=name)
    pages = [await asked(client, f"/schedules/accounts?limit=2&page={page}") for page in (1, 2)]
    assert [[row["schedule_name"] for row in page["data"]] for page in pages] == [["a", "b"], ["C"]]
    assert (pages[0]["meta"]["total_count"], pages[0]["meta"]["total_pages"]) == (3, 2)


# failures


async def test_failures_are_put_together_by_what_went_wrong(here: World, client: httpx2.AsyncClient) -> None:
    one, two = await schedule_with_past(here, name="one"), await schedule_with_past(here, name="two")
    error = "HTTP 502 Bad Gateway: request {} to 10.0.0.{}:80"
    ids = [
        await past.run(START - number * HOUR, "failed", error=error.format(number * 7919, number), status_code=502)
        for number, past in ((1, one), (2, two), (3, one))
    ]
    lost = await two.run(START - 4 * HOUR, "lost", error="the worker that held this run died or lost its lease")
    await one.run(START - 5 * HOUR, "cancelled")
    await one.run(START - 8 * DAY, "failed", error="of long ago")
    found = await asked(client, "/runs/failures")
    assert (found["runs_looked_at"], found["is_complete"]) == (4, True)
    first, second = found["data"]
    assert first.pop("hint").startswith("A proxy did not reach")
    assert first == {
        "fingerprint": fingerprint(RunStatus.FAILED, 502, error.format(1, 2)),
        "error": error.format(7919, 1),
        "status": "failed",
        "status_code": 502,
        "count": 3,
        "schedules": [
            {"id": one.schedule_id, "name": "one", "count": 2},
            {"id": two.schedule_id, "name": "two", "count": 1},
        ],
        "schedules_total": 2,
        "first_at": iso_utc(START - 3 * HOUR),
        "last_at": iso_utc(START - HOUR),
        "run_ids": ids,
    }
    assert (second["status"], second["run_ids"]) == ("lost", [lost])
    of_two = await asked(client, f"/runs/failures?schedule_id={two.schedule_id}&from={START - 3 * HOUR}")
    assert [(group["count"], group["status"]) for group in of_two["data"]] == [(1, "failed")]
    assert len((await asked(client, f"/runs/failures?from={START - 9 * DAY}"))["data"]) == 3


async def test_failures_that_are_too_many_are_told(
    here: World, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = await schedule_with_past(here, name="one")
    for number, error in enumerate(("no way", "no way", "no idea")):
        await past.run(START - (number + 1) * HOUR, "failed", error=error)
    found = await asked(client, "/runs/failures?limit=1")
    assert (len(found["data"]), found["runs_looked_at"], found["is_complete"]) == (1, 3, False)
    monkeypatch.setattr(failures, "MOST_RUNS", 2)
    found = await asked(client, "/runs/failures")
    assert (found["runs_looked_at"], found["is_complete"]) == (2, False)
    monkeypatch.setattr(failures, "MOST_RUNS", 3)
    assert (await asked(client, "/runs/failures"))["is_complete"]


# whoever asks


async def test_nobody_sees_anything_of_anybody_else(here: World) -> None:
    ann = await schedule_with_past(here, name="of ann", cron_expr="*/10 * * * *", user_id="ann")
    eve = await schedule_with_past(here, name="of eve", user_id="eve")
    await ann.run(START - HOUR)
    await ann.run(START - 2 * HOUR, "failed", error="of ann")
    here.clock.advance(660)
    async with client_of_many(here) as client:
        for path in (
            *("/schedules/summary", "/schedules/statistics", "/schedules/statistics?sort=runs", "/runs/failures"),
            *("/schedules/statistics?sort=lateness", "/schedules/accounts", "/schedules/accounts?owner=ann"),
            *("/schedules/statistics?owner=ann", f"/runs/failures?schedule_id={ann.schedule_id}"),
        ):
            assert "of ann" not in (await client.get(path, headers={"x-user": "eve"})).text, path
            assert "of ann" in (await client.get(path)).text, path
        found = await asked(client, "/schedules/summary", **{"x-user": "eve"})
        assert (found["schedules"]["total"], found["next_fire"]["schedule_id"]) == (1, eve.schedule_id)
        assert (sum(found["last_24_h"].values()), found["lateness_ms"]) == (0, None)
        for path in ("statistics", "statistics?sort=failures", "accounts"):
            found = await asked(client, f"/schedules/{path}", **{"x-user": "eve"})
            assert found["meta"]["total_count"] == 1
        foreign = await client.get(f"/schedules/{ann.schedule_id}/statistics", headers={"x-user": "eve"})
        assert foreign.status_code == 404


PATHS = (
    *("/schedules/timeline", "/schedules/statistics", "/schedules/accounts", "/runs/failures"),
    "/schedules/{schedule_id}/statistics",
)
HOSTILE = (
    *("from=never", "to=%00", "from=2026-01-02&to=2026-01-01", "from=5&to=5", "from=99999999999999999999"),
    *("from=9998-12-31T23:59:59Z", "to=9998-12-31T23:59:59Z", "from=253370764799999", f"from={2**48}", f"to={2**48}"),
    *("to=0", "from=1970-01-01&to=9998-12-31", "page=0", "page=99999999999999999999999", "page=10000000000"),
    *("limit=0", "limit=201", "bins=0", "bins=501", "lanes=-1", "lanes=201", "sort=chaos", "enabled=perhaps"),
    *("name=%00", "q=%ED%A0%80", "q=%00", "tag=%00", "target=%00", "owner=%00", "managed_by=%00", "schedule_id=%00"),
    *("q=%25_%27%22%5C", "name=%25", "q=" + "x" * 256),
)


async def test_no_question_breaks_anything(here: World, client: httpx2.AsyncClient) -> None:
    past = await schedule_with_past(here, name="one", cron_expr="* * * * *", timezone="Europe/Berlin")
    await past.run(START - HOUR, "failed", error="\x07 \ud7ff")
    for path in PATHS:
        for query in HOSTILE:
            answer = await client.get(path.format(schedule_id=past.schedule_id) + "?" + query)
            assert answer.status_code in (200, 422), (path, query, answer.status_code)
            assert answer.status_code == 200 or answer.json()["detail"], (path, query)
    assert (await client.get("/schedules/timeline?from=2020-01-01&to=2026-01-01")).status_code == 422
