"""`agentclock runs`: the commands of the group, and their examples."""

from __future__ import annotations

import typer

from agentclock.cli import run_orders, run_tail, run_views

runs_app = typer.Typer(no_args_is_help=True, help="See runs, watch them live, stop them, answer them, run them again.")

runs_app.command(
    "list",
    epilog="Examples: agentclock runs list --failed --from yesterday\n\n"
    "agentclock runs list --schedule nightly-report --limit 10\n\nagentclock runs list --status paused --json",
)(run_views.list_runs)
runs_app.command("show", epilog="Example: agentclock runs show 019b76da-a800-8d3c-9e6f-5a1f6f0c2b11")(
    run_views.show_run
)
runs_app.command(
    "tail",
    epilog="Examples: agentclock runs tail 019b76da-a800-8d3c-9e6f-5a1f6f0c2b11\n\n"
    "agentclock runs tail --schedule nightly-report --follow",
)(run_tail.tail)
runs_app.command("cancel", epilog="Example: agentclock runs cancel 019b76da-a800-8d3c-9e6f-5a1f6f0c2b11")(
    run_orders.cancel
)
runs_app.command(
    "approve",
    epilog="Examples: agentclock runs approve 019b76da-a800-8d3c-9e6f-5a1f6f0c2b11 --note 'go ahead'\n\n"
    "agentclock runs approve 019b76da-a800-8d3c-9e6f-5a1f6f0c2b11 --answer amount=120 --tail",
)(run_orders.approve)
runs_app.command(
    "reject",
    epilog="Example: agentclock runs reject 019b76da-a800-8d3c-9e6f-5a1f6f0c2b11 --note 'not before Monday'",
)(run_orders.reject)
runs_app.command(
    "retry",
    epilog="Examples: agentclock runs retry 019b76da-a800-8d3c-9e6f-5a1f6f0c2b11 --payload @edited.json --tail\n\n"
    "agentclock runs retry --failed --since 24h --schedule nightly-report",
)(run_orders.retry)
runs_app.command(
    "failures",
    epilog="Examples: agentclock runs failures\n\nagentclock runs failures --from -7d --schedule nightly-report",
)(run_views.failures)
