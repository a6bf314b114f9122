from __future__ import annotations

import json

import pytest

from agentclock.core.model import OutcomeKind, TargetType, Usage
from agentclock.executor.agno_usage import Tally
from agentclock.executor.agno_wire import (
    call_fields,
    continue_form,
    ending_of,
    failed_steps,
    form_of,
    index_of,
    is_text,
    metrics_of,
    outcome_of_event,
    outcome_of_status,
    usable_id,
    usage_of,
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
        (TargetType.WORKFLOW, "StepPaused", OutcomeKind.PAUSED),
        (TargetType.AGENT, "StepPaused", None),
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


def used(model: str, tokens: int) -> dict[str, object]:
    details = {"model": [{"id": model, "provider": "maker", "total_tokens": tokens}]}
    return {"metrics": {"input_tokens": tokens - 1, "output_tokens": 1, "total_tokens": tokens, "details": details}}


def test_usage_is_put_down_to_the_model_that_used_most() -> None:
    team = {**used("small", 5), "model": "small", "member_responses": [used("big", 40), used("small", 10)]}
    usage = usage_of(team)
    assert usage == Usage(model="big", input_tokens=52, output_tokens=3, total_tokens=55)
    assert usage_of({"metrics": {"duration": 3}}) is None
    priced = {"model": "named", "metrics": {"input_tokens": 1, "cost": 0.5}}
    assert usage_of(priced) == Usage(model="named", input_tokens=1, cost=0.5)
    assert usage_of({"metrics": {"input_tokens": float("nan")}}) is None


def test_the_tally_steps_in_where_a_run_tells_nothing() -> None:
    tally = Tally()
    tally.hear("RunStarted", {"model": "inner", "model_provider": "p1"}, own=False)
    tally.hear("TeamRunStarted", {"model": "outer", "model_provider": "p2"}, own=True)
    for tokens in (3, 4):
        tally.hear("ModelRequestCompleted", {"total_tokens": tokens, "input_tokens": 1, "model": "inner"}, own=False)
    named = {"model": "outer", "model_provider": "p2"}
    assert tally.metrics(None) == {"total_tokens": 7, "input_tokens": 2, **named}
    assert tally.metrics({"duration": 2.0}) == {"total_tokens": 7, "input_tokens": 2, "duration": 2.0, **named}
    assert tally.metrics({"total_tokens": 50}) == {"total_tokens": 50, **named}
    assert Tally().metrics(None) is None


@pytest.mark.parametrize(
    ("event", "data", "expected"),
    [
        ("RunContent", {"content": "a", "content_type": "str", "reasoning_content": ""}, True),
        ("TeamRunContent", {"content": "a", "model_provider_data": {"id": "x"}}, True),
        ("RunContent", {"content": "a", "reasoning_content": "hm"}, False),
        ("RunContent", {"content": "a", "citations": {"urls": ["x"]}}, False),
        ("RunContent", {"content": {"a": 1}}, False),
        ("RunContent", {"content": None, "image": {"id": "i"}}, False),
        ("RunCompleted", {"content": "a"}, False),
    ],
)
def test_what_is_but_text(event: str, data: dict[str, object], expected: bool) -> None:
    assert is_text(event, data) is expected


@pytest.mark.parametrize(("value", "index"), [(0, 0), (7, 7), (-1, None), (True, None), ("3", None), (None, None)])
def test_numbers_of_events(value: object, index: int | None) -> None:
    assert index_of({"event_index": value}) == index


def test_what_a_failed_step_waits_for_stands_apart() -> None:
    error = {"step_id": "s1", "step_name": "pay", "error_message": "broke", "decision": None}
    step = {"step_id": "s0", "requires_confirmation": True, "confirmed": True}
    outcome = outcome_of_status({"status": "PAUSED", "step_requirements": [step], "error_requirements": [error]})
    assert outcome is not None
    assert outcome.requirements == [step, error]
    form = continue_form(TargetType.WORKFLOW, outcome.requirements, {}, "s", None)
    assert json.loads(form["step_requirements"]) == [step]


def test_lists_that_come_with_the_answer_are_sent_as_they_are() -> None:
    requirements = [{"id": "r", "tool_execution": {"tool_call_id": "t", "requires_confirmation": True}}]
    mine = [{"tool_call_id": "t", "confirmed": True, "extra": 1}]
    form = continue_form(TargetType.AGENT, requirements, {"tools": mine}, "s", "anna")
    assert form == {"tools": json.dumps(mine), "session_id": "s", "user_id": "anna"}
    theirs = continue_form(
        TargetType.TEAM, requirements, {"requirements": [{"id": "r", "tool_execution": mine[0]}]}, "s", None
    )
    assert theirs == {"requirements": json.dumps([{"id": "r", "tool_execution": mine[0]}]), "session_id": "s"}
    assert continue_form(TargetType.AGENT, None, {"action": "approve"}, "s", None) == {"tools": "", "session_id": "s"}
