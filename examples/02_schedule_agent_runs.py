"""Schedules in Python: agno's ScheduleManager, unchanged, on agentclock.

python examples/02_schedule_agent_runs.py
"""

from agno.agent import Agent
from agno.db.sqlite import SqliteDb
from agno.scheduler import ScheduleManager
from serving import scratch_file, served

from agentclock.agno import AgentOS
from agentclock.agno.offline import OfflineModel

db = SqliteDb(db_file=scratch_file("agno.db"))

reporter = Agent(id="daily-reporter", model=OfflineModel(), instructions="You write the daily report.")
weather = Agent(id="weather-checker", model=OfflineModel(), instructions="You forecast the weather.")

agent_os = AgentOS(agents=[reporter, weather], db=db, enable_scheduler=True)
app = agent_os.get_app()  # from here on `db` keeps its schedules in agentclock

if __name__ == "__main__":
    manager = ScheduleManager(db)
    with served(app) as client:
        for name, cron, agent, message in (
            ("morning-report", "0 8 * * *", reporter, "Write this morning's report."),
            ("hourly-weather", "0 * * * *", weather, "What is the forecast?"),
        ):
            manager.create(
                name=name,
                cron=cron,
                timezone="America/New_York",
                endpoint=f"/agents/{agent.id}/runs",
                payload={"message": message, "session_id": name},  # one session for all runs: the agent remembers
                max_retries=2,
                if_exists="update",  # a script may run twice
            )

        for schedule in sorted(manager.list(), key=lambda schedule: schedule.name):
            run = client.post(f"/schedules/{schedule.id}/trigger").json()
            print(f"{schedule.name} ({schedule.cron_expr}): {run['status']}, session {run['session_id']}")
            print(f"  {run['output']['content']}")

        report = manager.get_runs(next(found.id for found in manager.list() if found.name == "morning-report"))
        print(f"runs of morning-report: {len(report)}, the last one a {report[0].status}")
        manager.close()
