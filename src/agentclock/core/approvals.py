"""What a paused agent run waits for, and what a human's answer makes of it.

The shapes are agno's. Agents and teams wait for tool calls (`tool_execution` in each requirement), workflows for steps
(`step_id`), and a step may wait for the tool calls of its own agent (`executor_requirements`). A run must not go on
with anything left open: agno takes an open confirmation for a refusal.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

from agentclock.core.model import Json

_Object: TypeAlias = dict[str, Any]

#: By which name a person chooses among the routes of a workflow.
ROUTE_FIELD: Final = "choice"

_REFUSED: Final = "refused by a human"

#: What tells one question from another: a step of a loop asks again and again.
_KEY_FIELDS: Final = ("tool_call_id", "tool_args", "step_id", "retry_count", "step_input", "step_output")


class Ask(StrEnum):
    """What is wanted of a human."""

    CONFIRMATION = "confirmation"
    USER_INPUT = "user_input"
    USER_FEEDBACK = "user_feedback"
    EXTERNAL_EXECUTION = "external_execution"
    ROUTE_SELECTION = "route_selection"
    OUTPUT_REVIEW = "output_review"
    ERROR_DECISION = "error_decision"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """One thing that is still open: `holder` is the tool call or step, `requirement` what it stands in (or itself)."""

    ask: Ask
    holder: _Object = field(repr=False)
    requirement: _Object = field(repr=False)
    step: str | None = None

    @property
    def name(self) -> str:
        return str(self.holder.get("tool_name") or self.holder.get("step_name") or "the run")

    @property
    def key(self) -> tuple[str, ...]:
        """Which question this is: an answer to another one must not count for it."""
        return (self.ask, *(json.dumps(self.holder.get(name), sort_keys=True, default=str) for name in _KEY_FIELDS))


def describe(requirements: Json) -> list[dict[str, Json]]:
    """Each thing that is open, for people to read: `kind`, `tool` (or step), `args`, and the `fields` to fill in.

    With `step`, `member`, `message` and `output` where they are known.
    """
    return [_described(item) for item in _open_items(requirements)]


def missing_answers(requirements: Json, answers: Mapping[str, Json]) -> list[str]:
    """What would stay open with these answers, one sentence each. Empty: the run can go on."""
    rejected = answers.get("action") == "reject"
    return [_missing(item, rejected=rejected) for item in _open_items(answered(requirements, answers))]


def answered(requirements: Json, answers: Mapping[str, Json]) -> list[Json]:
    """The requirements with the answers filled in. `requirements` itself is left unchanged.

    What the answers bring along singly (`tools`, `requirements`, `step_requirements`) counts as it is, in place of
    the requirement for the same tool call or step; the rest of the answers holds for all others.
    """
    filled = copy.deepcopy(_objects(requirements))
    for own in _objects(answers.get("step_requirements" if _are_steps(filled) else "requirements")):
        _put(filled, own)
    calls = {call.get("tool_call_id"): call for call in _objects(answers.get("tools"))}
    for requirement in filled:
        call = calls.get(_tool_call(requirement).get("tool_call_id"))
        if call is not None:
            requirement["tool_execution"] = call
    still_open = list(_open_items(filled))
    results = sum(item.ask is Ask.EXTERNAL_EXECUTION for item in still_open)
    for item in still_open:
        _fill(item, answers, only_result=results == 1)
    return filled


def same_questions(one: Json, other: Json) -> bool:
    """Whether two lists of requirements have the same things open."""
    return [item.key for item in _open_items(one)] == [item.key for item in _open_items(other)]


def _objects(value: Json) -> list[_Object]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _put(requirements: list[_Object], own: _Object) -> None:
    """In place of the last one for the same thing: a workflow's earlier ones are history."""
    for index in reversed(range(len(requirements))):
        if _id_of(requirements[index]) == _id_of(own):
            requirements[index] = own
            return
    requirements.append(own)


def _id_of(requirement: _Object) -> Json:
    return requirement.get("step_id") or _tool_call(requirement).get("tool_call_id") or requirement.get("id")


def _are_steps(requirements: list[_Object]) -> bool:
    return any("step_id" in requirement for requirement in requirements)


def _tool_call(requirement: _Object) -> _Object:
    """The tool call of a requirement; some lists hold the bare calls."""
    call = requirement.get("tool_execution")
    return call if isinstance(call, dict) else requirement


def _open_items(requirements: Json, step: str | None = None) -> Iterator[_Open]:
    for requirement in _objects(requirements):
        if "step_id" in requirement:
            yield from _open_in_step(requirement)
        elif (ask := _open_in_call(requirement)) is not None:
            yield _Open(ask=ask, holder=_tool_call(requirement), requirement=requirement, step=step)


def _open_in_call(requirement: _Object) -> Ask | None:
    """In agno's own order: the most particular question comes first."""
    call = _tool_call(requirement)
    if call.get("user_feedback_schema"):
        return None if call.get("answered") else Ask.USER_FEEDBACK
    if call.get("external_execution_required"):
        told = call.get("result") is not None or requirement.get("external_execution_result") is not None
        return None if told else Ask.EXTERNAL_EXECUTION
    if call.get("requires_user_input"):
        return None if call.get("answered") else Ask.USER_INPUT
    if call.get("requires_confirmation"):
        decided = call.get("confirmed") is not None or requirement.get("confirmation") is not None
        return None if decided else Ask.CONFIRMATION
    return None


def _open_in_step(step: _Object) -> Iterator[_Open]:
    if "error_message" in step and "decision" in step:
        if step["decision"] is None:
            yield _Open(ask=Ask.ERROR_DECISION, holder=step, requirement=step)
        return
    if step.get("requires_executor_input"):
        yield from _open_items(step.get("executor_requirements"), step=step.get("step_name"))
    if step.get("confirmed") is None and step.get("requires_output_review"):
        yield _Open(ask=Ask.OUTPUT_REVIEW, holder=step, requirement=step)
    elif step.get("confirmed") is None and step.get("requires_confirmation"):
        yield _Open(ask=Ask.CONFIRMATION, holder=step, requirement=step)
    if step.get("requires_user_input") and not step.get("user_input"):
        yield _Open(ask=Ask.USER_INPUT, holder=step, requirement=step)
    if step.get("requires_route_selection") and not step.get("selected_choices"):
        yield _Open(ask=Ask.ROUTE_SELECTION, holder=step, requirement=step)


def _fields(item: _Open) -> list[dict[str, Json]]:
    """What a human fills in: `name`, `type`, `description`, `value` (as it stands), `required`, `choices`."""
    match item.ask:
        case Ask.USER_INPUT:
            return [
                {
                    "name": entry.get("name"),
                    "type": entry.get("field_type"),
                    "description": entry.get("description"),
                    "value": entry.get("value"),
                    "required": entry.get("required", True) is not False,
                    "choices": entry.get("allowed_values"),
                }
                for entry in _objects(item.holder.get("user_input_schema"))
            ]
        case Ask.USER_FEEDBACK:
            return [
                {
                    "name": question.get("question"),
                    "type": "list" if question.get("multi_select") else "choice",
                    "description": question.get("header"),
                    "value": question.get("selected_options"),
                    "required": True,
                    "choices": [option.get("label") for option in _objects(question.get("options"))],
                }
                for question in _objects(item.holder.get("user_feedback_schema"))
            ]
        case Ask.ROUTE_SELECTION:
            several = bool(item.holder.get("allow_multiple_selections"))
            choices = item.holder.get("available_choices")
            kind = "list" if several else "choice"
            return [{"name": ROUTE_FIELD, "type": kind, "value": None, "required": True, "choices": choices}]
        case _:
            return []


def _described(item: _Open) -> dict[str, Json]:
    holder = item.holder
    output = holder.get("step_output")
    known = {
        "step": item.step or (holder.get("step_name") if "step_id" in holder else None),
        "member": item.requirement.get("member_agent_name"),
        "message": holder.get("confirmation_message")
        or holder.get("user_input_message")
        or holder.get("output_review_message")
        or holder.get("error_message"),
        "output": output.get("content") if isinstance(output, dict) else None,
    }
    return {
        "kind": str(item.ask),
        "tool": item.name,
        "args": holder.get("tool_args"),
        "fields": _fields(item),
        **{name: value for name, value in known.items() if value is not None},
    }


def _missing(item: _Open, *, rejected: bool) -> str:
    match item.ask:
        case Ask.CONFIRMATION | Ask.OUTPUT_REVIEW:
            return f"{item.name}: approve or reject"
        case Ask.EXTERNAL_EXECUTION:
            return f"{item.name}: its result (of several tools, an object with one for each)"
        case Ask.ERROR_DECISION:
            return f"{item.name} failed, and AgentOS takes no answer to that from outside: cancel the run"
        case Ask.USER_INPUT | Ask.USER_FEEDBACK | Ask.ROUTE_SELECTION:
            names = [str(entry["name"]) for entry in _fields(item) if entry["value"] is None and entry["required"]]
            wanted = f"{item.name}: values for {', '.join(names) or 'its input'}"
            return f"{wanted}; only a confirmation can be rejected" if rejected else wanted


def _fill(item: _Open, answers: Mapping[str, Json], *, only_result: bool) -> None:
    action, note, given = answers.get("action"), answers.get("note"), answers.get("values")
    values = given if isinstance(given, dict) else {}
    match item.ask:
        case Ask.CONFIRMATION | Ask.OUTPUT_REVIEW if action in ("approve", "reject"):
            _decide(item, confirmed=action == "approve", note=note)
        case Ask.EXTERNAL_EXECUTION:
            result = answers.get("result")
            if not only_result:
                result = result.get(item.name) if isinstance(result, dict) else None
            if result is None and action == "reject":
                result = note or _REFUSED
            if result is not None:
                text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
                _set_both(item, "result", "external_execution_result", text)
        case Ask.USER_INPUT if action != "reject":
            _fill_input(item.holder, values)
        case Ask.USER_FEEDBACK if action != "reject":
            _fill_feedback(item.holder, values)
        case Ask.ROUTE_SELECTION if action != "reject" and values.get(ROUTE_FIELD):
            chosen = values[ROUTE_FIELD]
            item.holder["selected_choices"] = chosen if isinstance(chosen, list) else [chosen]
        case _:
            """Left open: that is what `missing_answers` tells."""


def _decide(item: _Open, *, confirmed: bool, note: Json) -> None:
    _set_both(item, "confirmed", "confirmation", confirmed)
    if confirmed or note is None:
        return
    if "step_id" in item.holder:
        item.holder["rejection_feedback"] = str(note)
    else:
        _set_both(item, "confirmation_note", "confirmation_note", str(note))


def _set_both(item: _Open, name: str, name_outside: str, value: Json) -> None:
    """agno looks at the tool call in one place, at the requirement around it in another."""
    item.holder[name] = value
    if item.requirement is not item.holder:
        item.requirement[name_outside] = value


def _fill_input(holder: _Object, values: _Object) -> None:
    """A tool call takes its input in the fields of its schema, a step as one object."""
    schema = _objects(holder.get("user_input_schema"))
    for entry in schema:
        entry["value"] = values.get(str(entry.get("name")), entry.get("value"))
    complete = all(entry["value"] is not None or entry.get("required", True) is False for entry in schema)
    if not complete:
        return
    if "step_id" in holder:
        holder["user_input"] = {str(entry["name"]): entry["value"] for entry in schema} or values
    else:
        holder["answered"] = True


def _fill_feedback(holder: _Object, values: _Object) -> None:
    questions = _objects(holder.get("user_feedback_schema"))
    for question in questions:
        chosen = values.get(str(question.get("question")), question.get("selected_options"))
        if chosen is None:
            return
        question["selected_options"] = chosen if isinstance(chosen, list) else [chosen]
    holder["answered"] = True
