"""An agent that makes its own schedules with agno's SchedulerTools, within guard rails.

python examples/07_self_scheduling_agent.py
"""

import json
import logging

from agno.agent import Agent
from agno.db.sqlite import SqliteDb
from agno.tools.scheduler import SchedulerTools
from serving import scratch_file, served

from agentclock.agno import AgentOS
from agentclock.agno.offline import Call, OfflineModel

db = SqliteDb(db_file=scratch_file("agno.db"))


def plan(question: str) -> list[Call]:
    """What a real model would make of the question. Replace OfflineModel by one and leave this out."""
    if "minute" in question:
        return [_create("nag", "* * * * *", "Is it done?")]
    if "morning" in question:
        return [_create("morning-brief", "30 7 * * mon-fri", "Tell me what is on today.")]
    return []


def _create(name: str, cron: str, message: str) -> Call:
    payload = json.dumps({"message": message})
    return Call("create_schedule", {"name": name, "cron": cron, "payload": payload, "timezone": "Europe/Rome"})


assistant = Agent(
    id="assistant",
    model=OfflineModel(calls=plan),
    tools=[SchedulerTools(db=db, default_endpoint="/agents/assistant/runs")],
    instructions="You schedule what you are asked to do regularly.",
)
agent_os = AgentOS(agents=[assistant], db=db, enable_scheduler=True)
app = agent_os.get_app()

if __name__ == "__main__":
    # agno logs every refusal with its traceback; the agent gets the sentence, and that is printed below.
    logging.getLogger("agno").addFilter(lambda record: record.exc_info is None)
    with served(app) as client:
        for wish in ("Brief me every morning on weekdays.", "Ask me every minute whether it is done."):
            answer = client.post("/agents/assistant/runs", data={"message": wish, "stream": "false"}).json()
            said = json.loads(answer["tools"][0]["result"])
            print(f"{wish}\n  -> {said.get('error') or said['name'] + ' was made'}")

        for listed in client.get("/schedules").json()["data"]:
            schedule = client.get(f"/schedules/{listed['id']}").json()
            print(f"{schedule['name']}: {schedule['explanation']}, made via {schedule['provenance']['via']}")
            run = client.post(f"/schedules/{schedule['id']}/trigger").json()
            print(f"  it runs: {run['status']}: {run['output']['content']}")
