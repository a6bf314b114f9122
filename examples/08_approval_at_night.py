"""At night an agent wants to do something that needs a human: it waits, and goes on in the morning.

python examples/08_approval_at_night.py
"""

import time

from agno.agent import Agent
from agno.db.sqlite import SqliteDb
from agno.tools import tool
from serving import created, scratch_file, served

from agentclock.agno import AgentOS
from agentclock.agno.offline import Call, OfflineModel


@tool(requires_confirmation=True)
def pay_invoice(number: str, euros: int) -> str:
    """Pays an invoice."""
    return f"Invoice {number} is paid: {euros} euros."


bookkeeper = Agent(
    id="bookkeeper",
    model=OfflineModel(calls=[Call("pay_invoice", {"number": "2026-117", "euros": 1200})]),
    tools=[pay_invoice],
    instructions="You pay what is due.",
)
agent_os = AgentOS(agents=[bookkeeper], db=SqliteDb(db_file=scratch_file("agno.db")), enable_scheduler=True)
app = agent_os.get_app()

if __name__ == "__main__":
    with served(app) as client:
        created(
            client,
            name="nightly-payments",
            interval_seconds=1,  # "0 3 * * *" in earnest
            max_runs=2,
            overlap="allow",
            endpoint="/agents/bookkeeper/runs",
            payload={"message": "Pay what is due today."},
            approval_timeout_seconds=12 * 3600,
            approval_timeout_action="cancel",
        )

        # The inbox: whatever waits for a human, of all schedules.
        while len(inbox := client.get("/runs", params={"status": "paused"}).json()["data"]) < 2:
            time.sleep(0.1)

        for run, action in zip(reversed(inbox), ("approve", "reject"), strict=True):
            (question,) = run["approval"]
            print(f"{run['schedule_name']} waits: {question['kind']} of {question['tool']}{question['args']}")
            answer = client.post(
                f"/schedules/{run['schedule_id']}/runs/{run['id']}/continue",
                json={"action": action, "note": "The budget of this month is spent." if action == "reject" else None},
                params={"wait": 30},
            )
            done = answer.raise_for_status().json()
            print(f"  {action}: {done['status']}: {done['output']['content']}")

        print(f"left in the inbox: {len(client.get('/runs', params={'status': 'paused'}).json()['data'])}")
