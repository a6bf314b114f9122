"""Watch a scheduled agent while it works: its words as they come, and going on after the connection was lost.

python examples/06_live_events.py
"""

import json
from collections.abc import Iterator

import httpx
from agno.agent import Agent
from agno.db.sqlite import SqliteDb
from serving import created, scratch_file, served

from agentclock.agno import AgentOS
from agentclock.agno.offline import OfflineModel


def orders_since_yesterday() -> str:
    """Tells how many orders there were."""
    return "42 orders since yesterday."


agent_os = AgentOS(
    agents=[Agent(id="analyst", model=OfflineModel(seconds=2), tools=[orders_since_yesterday])],
    db=SqliteDb(db_file=scratch_file("agno.db")),
    enable_scheduler=True,
)
app = agent_os.get_app()


def events(client: httpx.Client, url: str, after: str | None = None) -> Iterator[tuple[str | None, str, dict]]:
    """(id, name, data) of each server-sent event; `after` is the id of the last one that was seen."""
    headers = {} if after is None else {"Last-Event-ID": after}
    with client.stream("GET", url, headers=headers) as response:
        fields: dict[str, str] = {}
        for line in response.iter_lines():
            name, _, value = line.partition(": ")
            if line:
                fields[name] = value
            elif "data" in fields:
                yield fields.get("id"), fields.get("event", "message"), json.loads(fields["data"])
                fields = {}


if __name__ == "__main__":
    with served(app) as client:
        schedule = created(
            client,
            name="orders",
            cron_expr="0 7 * * *",
            endpoint="/agents/analyst/runs",
            payload={"message": "How many orders were there?"},
        )
        run = client.post(f"/schedules/{schedule['id']}/trigger", params={"wait": 0}).json()
        url = f"/schedules/{schedule['id']}/runs/{run['id']}/events"

        words, last_id = 0, None
        for event_id, name, event in events(client, url):
            last_id = event_id or last_id
            if name == "ToolCallStarted":
                print(f"the agent calls {event['data']['tool']['tool_name']}")
            if name == "RunContent":
                print(event["data"]["content"], end="", flush=True)
                words += 1
            if words == 3:
                break

        print("... connection lost, and back: ", end="")
        for _, name, event in events(client, url, after=last_id):
            if name == "RunContent":
                print(event["data"]["content"], end="", flush=True)
            if name == "end":
                print(f"\nthe end: {event['status']}, {event['usage']['total_tokens']} tokens")
                break
