"""A workflow and a team on schedules: their steps and members are followed until the whole is done.

python examples/03_schedule_workflow.py
"""

from agno.agent import Agent
from agno.db.sqlite import SqliteDb
from agno.team import Team
from agno.workflow import Step, Workflow
from serving import created, finished_runs, scratch_file, served

from agentclock.agno import AgentOS
from agentclock.agno.offline import OfflineModel


def sales_of_yesterday() -> str:
    """Tells what was sold yesterday."""
    return "Yesterday 42 orders came in, worth 1,554 euros."


analyst = Agent(id="analyst", model=OfflineModel(), tools=[sales_of_yesterday], instructions="You gather figures.")
writer = Agent(id="writer", model=OfflineModel(), instructions="You turn figures into a note.")

report = Workflow(
    id="morning-report",
    steps=[Step(name="gather", agent=analyst), Step(name="write", agent=writer)],
)
newsroom = Team(
    id="newsroom",
    model=OfflineModel(),
    members=[Agent(id="reporter", model=OfflineModel(), tools=[sales_of_yesterday])],
    instructions="Let the reporter find the facts, then write the headline yourself.",
)

agent_os = AgentOS(
    teams=[newsroom],
    workflows=[report],
    db=SqliteDb(db_file=scratch_file("agno.db")),
    enable_scheduler=True,
)
app = agent_os.get_app()

if __name__ == "__main__":
    with served(app) as client:
        for name, endpoint, message in (
            ("report", "/workflows/morning-report/runs", "Write this morning's report."),
            ("headline", "/teams/newsroom/runs", "Give me today's headline."),
        ):
            schedule = created(
                client,
                name=name,
                interval_seconds=1,
                max_runs=1,
                endpoint=endpoint,
                payload={"message": message},
                timeout_seconds=60,
            )
            (run,) = finished_runs(client, schedule["id"], 1)
            print(f"{schedule['target_type']} {schedule['target_id']}: {run['status']}")
            print(f"  {run['output']['content']}")
            print(f"  {run['usage']['total_tokens']} tokens")
