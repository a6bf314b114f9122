"""An endpoint that does its work once, however often it is asked: here the first answer takes too long and is lost.

python examples/10_receiver.py
"""

import asyncio

from fastapi import FastAPI, Header
from serving import created, finished_runs, scratch_file, served

from agentclock.embed import attach

app = FastAPI()
answers: dict[str, asyncio.Task[dict]] = {}
written: list[str] = []


async def write(name: str) -> dict:
    """The work, which must not be done twice. It takes longer than agentclock waits for an answer."""
    await asyncio.sleep(2.5)
    written.append(name)
    return {"report": name, "number": len(written)}


@app.post("/reports")
async def write_report(body: dict, idempotency_key: str = Header()) -> dict:
    if idempotency_key not in answers:
        answers[idempotency_key] = asyncio.create_task(write(body["name"]))
    else:
        print("the same request again: it waits for the answer to the first")
    return await asyncio.shield(answers[idempotency_key])


attach(app, scratch_file("agentclock.db"))

if __name__ == "__main__":
    with served(app) as client:
        schedule = created(
            client,
            name="report",
            endpoint="/reports",
            payload={"name": "sales"},
            timeout_seconds=1,
            max_retries=3,
            retry_delay_seconds=1,
        )
        runs = f"/schedules/{schedule['id']}/runs"
        client.post(f"/schedules/{schedule['id']}/trigger", params={"wait": 0})
        [run] = finished_runs(client, schedule["id"], 1)
        for attempt in client.get(f"{runs}/{run['id']}").json()["attempts"]:
            print(f"attempt {attempt['number']}: {attempt['status']}")
        print(f"the answer: {run['output']['content']}")
        print(f"reports written: {len(written)}")
