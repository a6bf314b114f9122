"""What AgentOS is sent and what its words mean: form fields, events, run states, token figures. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from agentclock.core.model import Json, Outcome, OutcomeKind, TargetType
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

_FINAL_STATUSES: Final = {
    "COMPLETED": OutcomeKind.SUCCESS,
    "ERROR": OutcomeKind.FAILED,
    "CANCELLED": OutcomeKind.CANCELLED,
    "PAUSED": OutcomeKind.PAUSED,
}

_TOKEN_FIGURES: Final = (
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "audio_total_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cost",
)
_TIME_FIGURES: Final = ("time_to_first_token", "duration")

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


def usable_id(value: Json) -> str | None:
    """The id if it is one that may go into a path, else None."""
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


def ending_of(component: TargetType, event_type: str) -> OutcomeKind | None:
    """How a run of this kind ends with this event, None if it goes on."""
    prefix = _EVENT_PREFIX[component]
    return _ENDINGS.get(event_type.removeprefix(prefix)) if event_type.startswith(prefix) else None


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
        return Outcome(kind=kind, retryable=True, error=error, metrics=metrics_of(data))
    return _outcome(kind, data)


def outcome_of_status(data: Mapping[str, Json]) -> Outcome | None:
    """The outcome that a run's stored state tells, None while it goes on."""
    kind = _FINAL_STATUSES.get(str(data.get("status")).upper())
    if kind is OutcomeKind.FAILED:
        # The error itself is only told to those who watch; what is stored is what the run had said till then.
        said = error_text(data)
        error = f"the run ended with an error; the last it said: {said}" if said else "the run ended with an error"
        return Outcome(kind=kind, retryable=True, error=error, metrics=metrics_of(data))
    return None if kind is None else _outcome(kind, data)


def metrics_of(run: Mapping[str, Json]) -> dict[str, float] | None:
    """Token figures of a run and all runs within it (members, steps) added up, and its own times."""
    totals: dict[str, float] = {}
    for figures in _figures(run):
        for name in _TOKEN_FIGURES:
            if _is_number(figures.get(name)):
                totals[name] = totals.get(name, 0) + figures[name]
    own = run.get("metrics")
    times = own if isinstance(own, dict) else {}
    totals.update({name: times[name] for name in _TIME_FIGURES if _is_number(times.get(name))})
    return totals or None


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
    requirements = data.get("requirements") or data.get("step_requirements") or data.get("tools")
    return Outcome(
        kind=kind,
        error=error,
        output={"content": data.get("content"), "content_type": data.get("content_type")},
        requirements=requirements if kind is OutcomeKind.PAUSED else None,
        metrics=metrics_of(data),
    )


def _figures(run: Any) -> Iterator[Mapping[str, Any]]:
    """The metrics of a run and of the runs within it."""
    if not isinstance(run, dict):
        return
    metrics = run.get("metrics")
    own = metrics if isinstance(metrics, dict) else {}
    steps, step_runs = own.get("steps"), run.get("step_executor_runs")
    if step_runs and isinstance(step_runs, list):
        # A workflow's own figures are kept by step name: a loop overwrites them, the step runs are complete.
        for step_run in step_runs:
            yield from _figures(step_run)
    elif isinstance(steps, dict):
        for step in steps.values():
            yield from _figures(step)
    else:
        yield own
    members = run.get("member_responses")
    for member in members if isinstance(members, list) else ():
        yield from _figures(member)


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


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
