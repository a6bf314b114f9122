"""The smallest AgentOS with agentclock: one changed import, one schedule, two runs of an agent.

python examples/01_basic_scheduler.py
"""

from agno.agent import Agent
from agno.db.sqlite import SqliteDb
from serving import created, finished_runs, scratch_file, served

from agentclock.agno import AgentOS  # was: from agno.os import AgentOS
from agentclock.agno.offline import OfflineModel

db = SqliteDb(db_file=scratch_file("agno.db"))

greeter = Agent(
    id="greeter",
    model=OfflineModel(),  # needs neither network nor key; take OpenAIChat(id="gpt-5-mini") instead
    instructions="You are a friendly assistant. Answer with a short greeting.",
)

agent_os = AgentOS(agents=[greeter], db=db, enable_scheduler=True)
app = agent_os.get_app()

if __name__ == "__main__":
    with served(app) as client:
        daily = created(
            client,
            name="daily-greeting",
            cron_expr="0 7 * * mon-fri",
            timezone="Europe/Berlin",
            endpoint="/agents/greeter/runs",
            payload={"message": "Good morning!"},
        )
        print(f"{daily['name']}: {daily['explanation']}, next at {daily['next_fire_at']}")

        # Cron counts minutes; to see something at once, this one fires every two seconds.
        quick = created(
            client,
            name="quick-greeting",
            interval_seconds=2,
            endpoint="/agents/greeter/runs",
            payload={"message": "Say hello to the person who tries this out."},
        )
        for run in finished_runs(client, quick["id"], 2):
            print(f"due {run['fire_at']}, {run['status']}: {run['output']['content']}")
