"""Runs outside the timetable: on-demand schedules, waiting for the end or not, and what is refused.

python examples/05_manual_trigger.py
"""

import time

from agno.agent import Agent
from agno.db.sqlite import SqliteDb
from serving import created, scratch_file, served

from agentclock.agno import AgentOS
from agentclock.agno.offline import OfflineModel

agent_os = AgentOS(
    agents=[Agent(id="task-agent", model=OfflineModel(seconds=1), instructions="You carry out tasks.")],
    db=SqliteDb(db_file=scratch_file("agno.db")),
    enable_scheduler=True,
)
app = agent_os.get_app()

if __name__ == "__main__":
    with served(app) as client:
        schedule = created(
            client,
            name="import-of-the-month",  # no cron expression: it runs only when it is triggered
            endpoint="/agents/task-agent/runs",
            payload={"message": "Import last month's invoices."},
        )
        print(f"{schedule['explanation']}; next fire: {schedule['next_fire_at']}")
        trigger = f"/schedules/{schedule['id']}/trigger"

        answer = client.post(trigger)
        print(f"trigger waits for the end: {answer.status_code}, {answer.json()['status']}")

        answer = client.post(trigger, params={"wait": 0})
        print(f"with wait=0 it answers at once: {answer.status_code}, {answer.json()['status']}")
        while client.get(answer.headers["location"]).json()["status"] in ("pending", "running"):
            time.sleep(0.1)
        print(f"the Location header leads to its end: {client.get(answer.headers['location']).json()['status']}")

        first = client.post(trigger, params={"wait": 0}).json()
        second = client.post(trigger, params={"wait": 0}).json()
        print(f"a third and a fourth at once: {first['status']}, {second['status']} ({second['reason']})")
        done = client.post(f"/schedules/{schedule['id']}/runs/{first['id']}/cancel").json()
        print(f"cancelled in the middle: {done['status']}")

        client.post(f"/schedules/{schedule['id']}/disable")
        answer = client.post(trigger)
        print(f"disabled: {answer.status_code}, {answer.json()['detail']}")
