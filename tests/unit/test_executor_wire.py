from __future__ import annotations

import pytest

from agentclock.core.model import OutcomeKind, TargetType
from agentclock.executor.agno_wire import (
    call_fields,
    ending_of,
    failed_steps,
    form_of,
    metrics_of,
    outcome_of_event,
    outcome_of_status,
    usable_id,
)


def test_the_form() -> None:
    payload = {
        "message": "hi",
        "flag": True,
        "off": False,
        "number": 3,
        "nothing": None,
        "session_state": {"a": [1, "ü"]},
        "list": [1, {"b": None}],
    }
    form = form_of(call_fields(payload, "the-session", None), "the-run")
    assert form == {
        "message": "hi",
        "flag": "true",
        "off": "false",
        "number": "3",
        "session_state": '{"a": [1, "ü"]}',
        "list": '[1, {"b": null}]',
        "session_id": "the-session",
        "run_id": "the-run",
        "background": "true",
        "stream": "true",
    }


def test_what_belongs_to_agentos_is_taken_out() -> None:
    payload = {
        "message": "hi",
        "version": 3,
        "stream": False,
        "background": False,
        "run_id": "mine",
        "_agno_company_acceptance": True,
        "agno_dispatch_depth": 0,
        "metadata": {"agno_component_version": 1, "agno_dispatch_chain": [], "agno_dispatch_depth": 9, "keep": "me"},
    }
    assert call_fields(payload, "s", None) == {"message": "hi", "metadata": {"keep": "me"}, "session_id": "s"}
    as_text = {"metadata": '{"agno_component_version": 1, "keep": 2}'}
    assert call_fields(as_text, "s", None)["metadata"] == {"keep": 2}
    assert call_fields({"metadata": "[1]"}, "s", None)["metadata"] == "[1]"


def test_the_owner_overrides_the_payload() -> None:
    assert call_fields({"user_id": "root"}, "s", "anna")["user_id"] == "anna"
    assert call_fields({"user_id": "guest"}, "s", None)["user_id"] == "guest"


@pytest.mark.parametrize(
    ("component", "event", "kind"),
    [
        (TargetType.AGENT, "RunCompleted", OutcomeKind.SUCCESS),
        (TargetType.AGENT, "RunError", OutcomeKind.FAILED),
        (TargetType.AGENT, "RunPaused", OutcomeKind.PAUSED),
        (TargetType.AGENT, "RunCancelled", OutcomeKind.CANCELLED),
        (TargetType.AGENT, "RunContentCompleted", None),
        (TargetType.AGENT, "TeamRunCompleted", None),
        (TargetType.TEAM, "TeamRunCompleted", OutcomeKind.SUCCESS),
        (TargetType.TEAM, "RunCompleted", None),
        (TargetType.WORKFLOW, "WorkflowCompleted", OutcomeKind.SUCCESS),
        (TargetType.WORKFLOW, "WorkflowAgentCompleted", None),
        (TargetType.WORKFLOW, "StepCompleted", None),
        (TargetType.WORKFLOW, "StepPaused", None),
        (TargetType.WORKFLOW, "RunError", None),
    ],
)
def test_which_events_end_a_run(component: TargetType, event: str, kind: OutcomeKind | None) -> None:
    assert ending_of(component, event) is kind


@pytest.mark.parametrize("status", ["PENDING", "RUNNING", "REGENERATED", None, 7])
def test_states_that_are_no_end(status: object) -> None:
    assert outcome_of_status({"status": status}) is None


def test_states_that_are() -> None:
    done = outcome_of_status({"status": "COMPLETED", "content": {"a": 1}, "content_type": "Report"})
    assert done is not None
    assert (done.kind, done.output) == (OutcomeKind.SUCCESS, {"content": {"a": 1}, "content_type": "Report"})
    failed = outcome_of_status({"status": "ERROR", "content": "half a sen"})
    assert failed is not None
    assert failed.retryable
    assert failed.error == "the run ended with an error; the last it said: half a sen"
    paused = outcome_of_status({"status": "PAUSED", "step_requirements": [{"step_id": "1"}]})
    assert paused is not None
    assert (paused.kind, paused.requirements) == (OutcomeKind.PAUSED, [{"step_id": "1"}])


def test_a_completed_workflow_names_its_failed_steps() -> None:
    nested = {"step_name": "both", "success": True, "steps": [{"step_name": "left", "success": False, "error": "x"}]}
    results = [{"step_name": None, "success": False}, [{"step_name": "ok", "success": True}], nested, "garbage", None]
    assert list(failed_steps(results)) == ["number 1 (no reason given)", "left (x)"]
    outcome = outcome_of_event(OutcomeKind.SUCCESS, {"content": "c", "step_results": results})
    assert outcome.kind is OutcomeKind.SUCCESS
    assert outcome.error == "the workflow completed, but these steps failed: number 1 (no reason given); left (x)"


def test_tokens_of_a_team_include_its_members() -> None:
    member = {"metrics": {"input_tokens": 10, "output_tokens": 1, "duration": 5.0}}
    team = {
        "metrics": {"input_tokens": 100, "output_tokens": 2, "total_tokens": 102, "duration": 7.0, "details": {}},
        "member_responses": [member, {"member_responses": [member]}, None],
    }
    assert metrics_of(team) == {"input_tokens": 120, "output_tokens": 4, "total_tokens": 102, "duration": 7.0}


def test_tokens_of_a_workflow_are_those_of_its_steps() -> None:
    steps = {"one": {"metrics": {"total_tokens": 5}}, "two": {"metrics": None}}
    assert metrics_of({"metrics": {"steps": steps, "duration": 2}}) == {"total_tokens": 5, "duration": 2}
    looped = [{"metrics": {"total_tokens": 5}}, {"metrics": {"total_tokens": 6}}]
    flow = {"metrics": {"steps": steps, "duration": 2}, "step_executor_runs": looped}
    assert metrics_of(flow) == {"total_tokens": 11, "duration": 2}
    assert metrics_of({"metrics": {"input_tokens": "many", "cost": True}}) is None
    assert metrics_of({}) is None


@pytest.mark.parametrize("bad", ["", "..", ".", "a/b", "a b", "a\n", "x" * 256, None, 5, "?x", "é"])
def test_ids_that_cannot_go_into_a_path(bad: object) -> None:
    assert usable_id(bad) is None


def test_ids_that_can() -> None:
    assert usable_id("run_1-2:3.4") == "run_1-2:3.4"
