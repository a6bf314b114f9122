"""Whatever is asked for over the API and makes a difference stands in the audit log."""

from __future__ import annotations

from tests.apis import DRAFT, app_of, client_of, world


async def test_every_deed_is_told_in_its_order() -> None:
    async with world() as here, client_of(app_of(here)) as client:
        schedule = (await client.post("/schedules", json=DRAFT)).json()
        path = f"/schedules/{schedule['id']}"
        run = (await client.post(f"{path}/trigger", json={"reason": "now"})).json()
        await client.post(f"{path}/runs/{run['id']}/cancel")
        await client.post(f"{path}/runs/{run['id']}/cancel")  # it is over
        await client.patch(path, json={"description": "b"})
        await client.patch(path, json={"description": "b"})  # it is so already
        await client.post(f"{path}/disable")
        await client.post(f"{path}/disable")
        await client.post(f"{path}/enable")
        await client.delete(path)
        rows = (await client.get("/audit")).json()["data"]
    told = [row["action"].partition(".")[2] for row in reversed(rows)]
    words = ("created", "triggered", "cancelled", "changed", "disabled", "enabled", "deleted")
    assert told == list(words)
    assert {(row["schedule_id"], row["schedule_name"]) for row in rows} == {(schedule["id"], DRAFT["name"])}
    assert {row["run_id"] for row in rows if row["run_id"]} == {run["id"]}
