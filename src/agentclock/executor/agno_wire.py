"""What AgentOS is sent and what its words mean: form fields, events, run states. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final

from agentclock.core.approvals import answered
from agentclock.core.model import Json, Outcome, OutcomeKind, TargetType
from agentclock.executor.agno_usage import metrics_of, usage_of
from agentclock.executor.outcomes import parse_json

#: Run metadata that belongs to AgentOS itself: a payload that carries it could pass for another run.
_RESERVED_METADATA: Final = frozenset({"agno_component_version", "agno_dispatch_chain", "agno_dispatch_depth"})

#: A schedule always calls the live version, in the background, under an id that agentclock chose.
_RESERVED_FIELDS: Final = _RESERVED_METADATA | {"version", "stream", "background", "run_id"}

_EVENT_PREFIX: Final = {TargetType.AGENT: "Run", TargetType.TEAM: "TeamRun", TargetType.WORKFLOW: "Workflow"}

_ENDINGS: Final = {
    "Completed": OutcomeKind.SUCCESS,
    "Error": OutcomeKind.FAILED,
    "Cancelled": OutcomeKind.CANCELLED,
    "Paused": OutcomeKind.PAUSED,
}

#: A workflow that begins to wait says so of the part that waits.
_WAITING_PARTS: Final = frozenset(
    {"StepPaused", "StepExecutorPaused", "StepOutputReview", "ConditionPaused", "RouterPaused"}
)

_FINAL_STATUSES: Final = {
    "COMPLETED": OutcomeKind.SUCCESS,
    "ERROR": OutcomeKind.FAILED,
    "CANCELLED": OutcomeKind.CANCELLED,
    "PAUSED": OutcomeKind.PAUSED,
}

#: What a resumed stream says of itself; no words of the agent.
_META_EVENTS: Final = frozenset({"catch_up", "replay", "subscribed"})

#: A whole stored run, sent once more after its last event.
_ECHO_EVENTS: Final = frozenset({"WorkflowRunOutput"})

_TEXT_EVENTS: Final = frozenset({"RunContent", "TeamRunContent"})

#: Events that carry a text piece by piece, and the fields where the pieces stand.
_STREAMED_EVENTS: Final = ("RunContent", "RunIntermediateContent", "ReasoningContentDelta")
_STREAMED_FIELDS: Final = ("content", "reasoning_content")

#: With any of these an event is more than the text in it.
_RICH_FIELDS: Final = (
    "reasoning_content",
    "reasoning_steps",
    "reasoning_messages",
    "citations",
    "references",
    "additional_input",
    "response_audio",
    "audio",
    "image",
    "images",
    "videos",
    "files",
)

_ID: Final = re.compile(r"[\w:@+-][\w.:@+-]{0,254}", re.ASCII)


def call_fields(payload: Mapping[str, Json], session_id: str, user_id: str | None) -> dict[str, Json]:
    """The payload as AgentOS may have it: what is AgentOS's own taken out, the owner and the session put in."""
    fields = {
        name: value
        for name, value in payload.items()
        if name not in _RESERVED_FIELDS and not name.startswith("_agno_") and value is not None
    }
    if "metadata" in fields:
        fields["metadata"] = _own_metadata(fields["metadata"])
    if user_id is not None:
        fields["user_id"] = user_id
    return {**fields, "session_id": session_id}


def form_of(fields: Mapping[str, Json], run_id: str) -> dict[str, str]:
    """The form that starts a run in the background with a live stream of its events."""
    form = {name: _form_value(value) for name, value in fields.items()}
    return {**form, "run_id": run_id, "background": "true", "stream": "true"}


def continue_form(
    component: TargetType, requirements: Json, answers: Mapping[str, Json], session_id: str, user_id: str | None
) -> dict[str, str]:
    """The form that lets a paused run go on; `requirements` are what it waits for, as AgentOS told it."""
    filled = answered(requirements, answers)
    match component:
        case TargetType.AGENT:
            name, value = "tools", _calls_of(filled) or answers.get("tools")
        case TargetType.TEAM:
            name, value = "requirements", filled
        case TargetType.WORKFLOW:
            name, value = "step_requirements", [item for item in filled if not _is_step_error(item)]
    form = {name: json.dumps(value, ensure_ascii=False) if value else "", "session_id": session_id}
    return form if user_id is None else {**form, "user_id": user_id}


def _calls_of(requirements: list[Json]) -> list[Json]:
    return [item.get("tool_execution") or item for item in requirements if isinstance(item, dict)]


def usable_id(value: Json) -> str | None:
    """The id if it is one that may go into a path, else None."""
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


def ending_of(component: TargetType, event_type: str) -> OutcomeKind | None:
    """How a run of this kind ends with this event, None if it goes on."""
    if component is TargetType.WORKFLOW and event_type in _WAITING_PARTS:
        return OutcomeKind.PAUSED
    prefix = _EVENT_PREFIX[component]
    return _ENDINGS.get(event_type.removeprefix(prefix)) if event_type.startswith(prefix) else None


def is_meta(event_type: str) -> bool:
    """Whether an event is one of AgentOS about the stream, not one of the agent."""
    return event_type in _META_EVENTS


def promises_more(event_type: str) -> bool:
    """Whether AgentOS says that the run whose stream was resumed is alive; otherwise what is stored is all there is."""
    return event_type in ("catch_up", "subscribed")


def is_echo(event_type: str) -> bool:
    """Whether an event only repeats what the ones before it have said."""
    return event_type in _ECHO_EVENTS


def goes_on(event_type: str) -> bool:
    """Whether a run that has ended, or waited, goes on with this event."""
    return event_type.endswith("Continued")


def is_text(event_type: str, data: Mapping[str, Json]) -> bool:
    """Whether the event is a piece of text and nothing else that anybody would want to see."""
    content = data.get("content")
    return event_type in _TEXT_EVENTS and isinstance(content, str) and not any(map(data.get, _RICH_FIELDS))


def streamed_texts(event_type: str, data: Mapping[str, Json]) -> list[str]:
    """The fields of an event whose texts go on in the next event of its kind."""
    if not event_type.endswith(_STREAMED_EVENTS):
        return []
    return [name for name in _STREAMED_FIELDS if isinstance(data.get(name), str) and data[name]]


def speaker_of(data: Mapping[str, Json]) -> str | None:
    """Whose words an event carries: a run within the run, or the run itself."""
    run_id = data.get("run_id")
    return run_id if isinstance(run_id, str) else None


def index_of(data: Mapping[str, Json]) -> int | None:
    """AgentOS's own number of an event within the run."""
    index = data.get("event_index")
    return index if isinstance(index, int) and not isinstance(index, bool) and index >= 0 else None


def is_nested(data: Mapping[str, Json]) -> bool:
    """Whether an event belongs to a run within another run."""
    return bool(data.get("parent_run_id") or data.get("workflow_run_id"))


def error_text(data: Mapping[str, Json]) -> str | None:
    """What an error event says."""
    text = data.get("error") or data.get("content")
    return text if isinstance(text, str) else None


def outcome_of_event(kind: OutcomeKind, data: Mapping[str, Json]) -> Outcome:
    """The outcome that the last event of a run tells; `output` is not yet bounded."""
    if kind is OutcomeKind.FAILED:
        error = error_text(data) or "the run failed without saying why"
        return _failed(error, data)
    return _outcome(kind, data)


def outcome_of_status(data: Mapping[str, Json]) -> Outcome | None:
    """The outcome that a run's stored state tells, None while it goes on."""
    kind = _FINAL_STATUSES.get(str(data.get("status")).upper())
    if kind is OutcomeKind.FAILED:
        # The error itself is only told to those who watch; what is stored is what the run had said till then.
        said = error_text(data)
        error = f"the run ended with an error; the last it said: {said}" if said else "the run ended with an error"
        return _failed(error, data)
    return None if kind is None else _outcome(kind, data)


def failed_steps(results: Json) -> Iterator[str]:
    """The failed steps of a workflow, each with its error, however deep they stand."""
    if isinstance(results, list):
        for number, result in enumerate(results, 1):
            if isinstance(result, dict) and result.get("success") is False:
                name = result.get("step_name") or f"number {number}"
                yield f"{name} ({result.get('error') or 'no reason given'})"
            else:
                yield from failed_steps(result)
    elif isinstance(results, dict):
        yield from failed_steps(results.get("steps"))


def _outcome(kind: OutcomeKind, data: Mapping[str, Json]) -> Outcome:
    error = None
    if kind is OutcomeKind.CANCELLED:
        reason = data.get("reason")
        error = reason if isinstance(reason, str) else "the run was cancelled"
    elif kind is OutcomeKind.SUCCESS:
        failed = "; ".join(failed_steps(data.get("step_results")))
        error = f"the workflow completed, but these steps failed: {failed}" if failed else None
    return Outcome(
        kind=kind,
        error=error,
        output={"content": data.get("content"), "content_type": data.get("content_type")},
        requirements=_requirements_of(data) if kind is OutcomeKind.PAUSED else None,
        metrics=metrics_of(data),
        usage=usage_of(data),
    )


def _failed(error: str, data: Mapping[str, Json]) -> Outcome:
    return Outcome(kind=OutcomeKind.FAILED, retryable=True, error=error, metrics=metrics_of(data), usage=usage_of(data))


def _requirements_of(data: Mapping[str, Json]) -> Json:
    """What a paused run waits for. A workflow keeps what it waited for earlier; the failed steps stand apart."""
    steps, errors = data.get("step_requirements"), data.get("error_requirements")
    if isinstance(errors, list) and errors:
        return [*(steps if isinstance(steps, list) else ()), *errors]
    return data.get("requirements") or steps or data.get("tools")


def _is_step_error(requirement: Json) -> bool:
    return isinstance(requirement, dict) and "error_message" in requirement and "decision" in requirement


def _own_metadata(metadata: Json) -> Json:
    """Without AgentOS's own keys; what is no object stays as it is, so that AgentOS says what is wrong with it."""
    parsed = metadata
    if isinstance(metadata, str):
        try:
            parsed = parse_json(metadata)
        except ValueError:
            return metadata
    if not isinstance(parsed, dict):
        return metadata
    return {name: value for name, value in parsed.items() if name not in _RESERVED_METADATA}


def _form_value(value: Json) -> str:
    match value:
        case str():
            return value
        case bool() | dict() | list():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)
