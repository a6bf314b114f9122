"""What paused runs wait for, in the shapes that agno 3.1.10 tells it, and what answers make of them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from agentclock.core.approvals import answered, describe, missing_answers, same_questions
from agentclock.core.model import Json

_BARE_CALL: dict[str, Any] = {
    "tool_call_id": "call_1",
    "tool_name": "spend",
    "tool_args": {"amount": 1},
    "result": None,
    "requires_confirmation": None,
    "confirmed": None,
    "confirmation_note": None,
    "requires_user_input": None,
    "user_input_schema": None,
    "user_feedback_schema": None,
    "answered": None,
    "external_execution_required": None,
}


def call(tool_call_id: str = "call_1", tool_name: str = "spend", **fields: Any) -> dict[str, Any]:
    return {**_BARE_CALL, "tool_call_id": tool_call_id, "tool_name": tool_name, **fields}


def requirement(execution: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": f"r-{execution['tool_call_id']}", "tool_execution": execution, **fields}


def step(**fields: Any) -> dict[str, Any]:
    base = {"step_id": "s1", "step_name": "pay", "requires_confirmation": False, "confirmed": None}
    return {**base, "requires_user_input": False, "requires_route_selection": False, **fields}


CONFIRM = requirement(call(requires_confirmation=True))
MEMBERS = requirement(call(requires_confirmation=True), member_agent_name="buyer")
SCHEMA = [
    {"name": "city", "field_type": "str", "description": "Where.", "value": None},
    {"name": "unit", "field_type": "str", "description": None, "value": "C"},
]
INPUT = requirement(call("call_2", "weather", requires_user_input=True, user_input_schema=SCHEMA))
OUTSIDE = requirement(call("call_3", "deploy", external_execution_required=True))
FEEDBACK = requirement(
    call(
        "call_4",
        "ask_user",
        requires_user_input=True,
        user_feedback_schema=[
            {
                "question": "Which?",
                "header": "Colour",
                "multi_select": False,
                "selected_options": None,
                "options": [{"label": "red"}, {"label": "blue"}],
            }
        ],
    )
)
SURE = step(requires_confirmation=True, confirmation_message="Sure?")
REVIEW = step(
    requires_confirmation=True,
    requires_output_review=True,
    output_review_message="Fine?",
    step_output={"content": "a text"},
)
FILL = step(requires_user_input=True, user_input_schema=[{**SCHEMA[0], "required": True}], user_input=None)
ROUTE = step(requires_route_selection=True, available_choices=["left", "right"], selected_choices=None)
WITHIN = step(requires_executor_input=True, executor_requirements=[CONFIRM])
BROKEN = {"step_id": "s2", "step_name": "send", "error_message": "timed out", "decision": None}


@pytest.mark.parametrize(
    ("asked", "kind", "tool", "fields"),
    [
        (CONFIRM, "confirmation", "spend", []),
        (call(requires_confirmation=True), "confirmation", "spend", []),
        (INPUT, "user_input", "weather", ["city", "unit"]),
        (OUTSIDE, "external_execution", "deploy", []),
        (FEEDBACK, "user_feedback", "ask_user", ["Which?"]),
        (SURE, "confirmation", "pay", []),
        (REVIEW, "output_review", "pay", []),
        (FILL, "user_input", "pay", ["city"]),
        (ROUTE, "route_selection", "pay", ["choice"]),
        (WITHIN, "confirmation", "spend", []),
        (BROKEN, "error_decision", "send", []),
    ],
)
def test_what_people_see(asked: dict[str, Any], kind: str, tool: str, fields: list[str]) -> None:
    [shown] = describe([asked])
    assert (shown["kind"], shown["tool"], [field["name"] for field in shown["fields"]]) == (kind, tool, fields)
    if "tool_execution" in asked:
        assert shown["args"] == {"amount": 1}


def test_where_it_comes_from() -> None:
    assert describe([MEMBERS])[0]["member"] == "buyer"
    assert describe([WITHIN])[0]["step"] == "pay"
    assert describe([SURE])[0]["message"] == "Sure?"
    review = describe([REVIEW])[0]
    assert (review["message"], review["output"]) == ("Fine?", "a text")
    assert describe([ROUTE])[0]["fields"][0]["choices"] == ["left", "right"]
    assert describe([FEEDBACK])[0]["fields"][0]["choices"] == ["red", "blue"]


@pytest.mark.parametrize("garbage", [None, {}, [], "x", 3, [None, 1, "x"], [{}], [{"tool_execution": "x"}]])
def test_nothing_to_answer(garbage: Json) -> None:
    assert describe(garbage) == []
    assert missing_answers(garbage, {"action": "approve"}) == []


def test_what_is_settled_already_is_not_asked_again() -> None:
    """A workflow keeps what it waited for earlier."""
    earlier = step(step_id="s0", requires_confirmation=True, confirmed=True)
    assert describe([earlier, SURE]) == describe([SURE])
    filled = answered([earlier, SURE], {"action": "reject", "note": "no"})
    assert filled[0] == earlier
    assert (filled[1]["confirmed"], filled[1]["rejection_feedback"]) == (False, "no")


@pytest.mark.parametrize(
    ("asked", "answers", "missing"),
    [
        (CONFIRM, {"action": "approve"}, None),
        (CONFIRM, {"action": "reject"}, None),
        (CONFIRM, {}, "spend: approve or reject"),
        (CONFIRM, {"values": {"amount": 3}}, "spend: approve or reject"),
        (INPUT, {"values": {"city": "Rome"}}, None),
        (INPUT, {"action": "approve", "values": {"city": "Rome", "unit": "F"}}, None),
        (INPUT, {"action": "approve"}, "weather: values for city"),
        (INPUT, {"action": "reject"}, "weather: values for city; only a confirmation can be rejected"),
        (OUTSIDE, {"result": "done"}, None),
        (OUTSIDE, {"action": "reject", "note": "not today"}, None),
        (OUTSIDE, {"action": "approve"}, "deploy: its result (of several tools, an object with one for each)"),
        (FEEDBACK, {"values": {"Which?": "red"}}, None),
        (FEEDBACK, {"values": {}}, "ask_user: values for Which?"),
        (SURE, {"action": "approve"}, None),
        (REVIEW, {"action": "approve"}, None),
        (REVIEW, {}, "pay: approve or reject"),
        (FILL, {"values": {"city": "Rome"}}, None),
        (FILL, {"action": "approve"}, "pay: values for city"),
        (ROUTE, {"values": {"choice": "left"}}, None),
        (ROUTE, {"action": "approve"}, "pay: values for choice"),
        (WITHIN, {"action": "approve"}, None),
        (WITHIN, {}, "spend: approve or reject"),
        (
            BROKEN,
            {"action": "approve"},
            "send failed, and AgentOS takes no answer to that from outside: cancel the run",
        ),
    ],
)
def test_what_an_answer_lacks(asked: dict[str, Any], answers: dict[str, Any], missing: str | None) -> None:
    before = copy.deepcopy(asked)
    assert missing_answers([asked], answers) == ([] if missing is None else [missing])
    assert asked == before


def test_filled_in_for_agno() -> None:
    [confirmed] = answered([CONFIRM], {"action": "approve"})
    assert (confirmed["confirmation"], confirmed["tool_execution"]["confirmed"]) == (True, True)
    [refused] = answered([MEMBERS], {"action": "reject", "note": "no"})
    assert (refused["confirmation_note"], refused["tool_execution"]["confirmation_note"]) == ("no", "no")
    [given] = answered([INPUT], {"values": {"city": "Rome"}})
    assert given["tool_execution"]["answered"] is True
    assert [entry["value"] for entry in given["tool_execution"]["user_input_schema"]] == ["Rome", "C"]
    [done] = answered([OUTSIDE], {"result": {"ok": True}})
    assert (done["external_execution_result"], done["tool_execution"]["result"]) == ('{"ok": true}', '{"ok": true}')
    [chosen] = answered([FEEDBACK], {"values": {"Which?": "red"}})
    assert chosen["tool_execution"]["user_feedback_schema"][0]["selected_options"] == ["red"]
    [filled] = answered([FILL], {"values": {"city": "Rome"}})
    assert filled["user_input"] == {"city": "Rome"}
    [routed] = answered([ROUTE], {"values": {"choice": ["left", "right"]}})
    assert routed["selected_choices"] == ["left", "right"]
    [within] = answered([WITHIN], {"action": "approve"})
    assert within["executor_requirements"][0]["tool_execution"]["confirmed"] is True


def test_one_answer_for_several_tools() -> None:
    both = [CONFIRM, requirement(call("call_9", "pay", requires_confirmation=True))]
    assert missing_answers(both, {"action": "approve"}) == []
    outside = [OUTSIDE, requirement(call("call_8", "build", external_execution_required=True))]
    assert len(missing_answers(outside, {"result": "done"})) == 2
    assert missing_answers(outside, {"result": {"deploy": "yes", "build": "no"}}) == []


def test_single_answers_count_as_they_are() -> None:
    tool = call(requires_confirmation=True, confirmed=False)
    assert missing_answers([CONFIRM, INPUT], {"tools": [tool], "values": {"city": "Rome"}}) == []
    [first, _] = answered([CONFIRM, INPUT], {"tools": [tool], "action": "approve"})
    assert first["tool_execution"]["confirmed"] is False
    own = [requirement(call(requires_confirmation=True, confirmed=True))]
    assert answered([CONFIRM], {"requirements": own}) == own
    assert missing_answers([CONFIRM], {"requirements": [CONFIRM]}) == ["spend: approve or reject"]
    assert answered([SURE], {"step_requirements": [{"step_id": "s1", "confirmed": True}]}) == [
        {"step_id": "s1", "confirmed": True}
    ]
    # What is not answered singly goes by the rest of the answers.
    two = [CONFIRM, requirement(call("call_9", "pay", requires_confirmation=True))]
    mixed = answered(two, {"action": "reject", "requirements": own})
    assert [item["tool_execution"]["confirmed"] for item in mixed] == [True, False]
    rounds = [step(requires_confirmation=True, confirmed=True), SURE]
    latest = answered(rounds, {"step_requirements": [{"step_id": "s1", "confirmed": False}]})
    assert latest == [rounds[0], {"step_id": "s1", "confirmed": False}]


def test_an_answer_belongs_to_its_question() -> None:
    assert same_questions([CONFIRM], copy.deepcopy([{**CONFIRM, "id": "another"}]))
    assert not same_questions([CONFIRM], [requirement(call("call_7", requires_confirmation=True))])
    dearer = requirement(call(requires_confirmation=True, tool_args={"amount": 100}))
    assert not same_questions([CONFIRM], [dearer])
    assert not same_questions([CONFIRM], [])
    again = {**SURE, "step_input": {"input": "second round"}}
    assert not same_questions([SURE], [again])
