"""`agentclock schedules`: the commands of the group, and their examples."""

from __future__ import annotations

import typer

from agentclock.cli import schedule_edits, schedule_orders, schedule_views

schedules_app = typer.Typer(no_args_is_help=True, help="See, make, change and trigger schedules.")

schedules_app.command(
    "list",
    epilog="Examples: agentclock schedules list\n\nagentclock schedules list --search report --disabled --sort name\n\n"
    "agentclock schedules list --tag nightly | cut -f2",
)(schedule_views.list_schedules)
schedules_app.command(
    "show",
    epilog="Examples: agentclock schedules show nightly-report\n\nagentclock schedules show nightly-report --json",
)(schedule_views.show_schedule)
schedules_app.command(
    "create",
    epilog="Examples: agentclock schedules create nightly-report --cron '0 3 * * *' --zone Europe/Rome "
    "--agent assistant --message 'Summarise the day.'\n\n"
    "agentclock schedules create ping --every 300 --endpoint /health --method GET --target hooks --yes",
)(schedule_edits.create)
schedules_app.command(
    "edit",
    epilog="Examples: agentclock schedules edit nightly-report\n\n"
    "agentclock schedules edit nightly-report --cron '30 3 * * 1-5' --set on_lost=retry",
)(schedule_edits.edit)
schedules_app.command("enable", epilog="Example: agentclock schedules enable nightly-report")(schedule_orders.enable)
schedules_app.command(
    "disable", epilog="Example: agentclock schedules disable nightly-report weekly-report --reason 'data is moved'"
)(schedule_orders.disable)
schedules_app.command(
    "trigger",
    epilog="Examples: agentclock schedules trigger nightly-report --tail\n\n"
    "agentclock schedules trigger nightly-report --payload @edited.json --reason 'ticket 4711' --wait",
)(schedule_orders.trigger)
schedules_app.command("delete", epilog="Example: agentclock schedules delete nightly-report --yes")(
    schedule_orders.delete
)
schedules_app.command(
    "why",
    epilog="Examples: agentclock schedules why nightly-report --at 03:00\n\n"
    "agentclock schedules why nightly-report --at 2026-03-29T02:30",
)(schedule_views.why)
