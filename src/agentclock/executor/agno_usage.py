"""What an agent run used up, by AgentOS's own figures. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeGuard

from agentclock.core.model import Json, Usage

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


def metrics_of(run: Mapping[str, Json]) -> dict[str, Json] | None:
    """Token figures of a run and all runs within it (members, steps) added up, its own times, and its model.

    After a pause the figures are those of the whole run, as AgentOS keeps counting.
    """
    totals: dict[str, Json] = {}
    for figures in _figures(run):
        for name in _TOKEN_FIGURES:
            if _is_number(figures.get(name)):
                totals[name] = totals.get(name, 0) + figures[name]
    own = run.get("metrics")
    times = own if isinstance(own, dict) else {}
    totals.update({name: times[name] for name in _TIME_FIGURES if _is_number(times.get(name))})
    model, provider = _model_of(run)
    if totals and model is not None:
        totals["model"] = model
        if provider is not None:
            totals["model_provider"] = provider
    return totals or None


def usage_of(run: Mapping[str, Json]) -> Usage | None:
    """The same as `Usage`, None if AgentOS gave no figures. All is put down to the model that used most of it."""
    return usage_from(metrics_of(run))


def usage_from(metrics: Mapping[str, Json] | None) -> Usage | None:
    if metrics is None or not any(name in metrics for name in ("input_tokens", "output_tokens", "total_tokens")):
        return None
    cost = metrics.get("cost")
    return Usage(
        model=metrics.get("model"),
        input_tokens=_count(metrics.get("input_tokens")),
        output_tokens=_count(metrics.get("output_tokens")),
        total_tokens=_count(metrics.get("total_tokens")),
        cost=float(cost) if _is_number(cost) else None,
    )


class Tally:
    """The figures of single model calls, added up as they are told: for runs that are stopped before their own
    figures are known. What was told to others, or never, is missing."""

    def __init__(self) -> None:
        self._figures: dict[str, Json] = {}
        self._model: str | None = None
        self._provider: str | None = None

    def hear(self, event_type: str, data: Mapping[str, Json], *, own: bool) -> None:
        """`own`: an event of the run itself, not of one within it."""
        model = data.get("model")
        if isinstance(model, str) and (own or self._model is None):
            provider = data.get("model_provider")
            self._model, self._provider = model, provider if isinstance(provider, str) else None
        if event_type.endswith("ModelRequestCompleted"):
            for name in _TOKEN_FIGURES:
                if _is_number(data.get(name)):
                    self._figures[name] = self._figures.get(name, 0) + data[name]

    def metrics(self, told: Json) -> dict[str, Json] | None:
        """`told`, the run's own metrics, with what is missing there."""
        metrics = dict(told) if isinstance(told, dict) else {}
        if usage_from(metrics) is None:
            metrics = {**self._figures, **metrics}
        if metrics and "model" not in metrics and self._model is not None:
            metrics["model"] = self._model
            if self._provider is not None:
                metrics["model_provider"] = self._provider
        return metrics or None


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


def _model_of(run: Mapping[str, Json]) -> tuple[str | None, str | None]:
    """The model that used most tokens and its provider, else the one that the run names."""
    used: dict[tuple[str, str | None], float] = {}
    for entry in _model_entries(run):
        tokens = entry.get("total_tokens")
        key = (entry["id"], _text(entry.get("provider")))
        used[key] = used.get(key, 0) + (tokens if _is_number(tokens) else 0)
    if used:
        return max(used, key=lambda key: used[key])
    return _text(run.get("model")), _text(run.get("model_provider"))


def _model_entries(run: Mapping[str, Json]) -> Iterator[Mapping[str, Any]]:
    for figures in _figures(run):
        details = figures.get("details")
        for entries in details.values() if isinstance(details, dict) else ():
            for entry in entries if isinstance(entries, list) else ():
                if isinstance(entry, dict) and isinstance(entry.get("id"), str):
                    yield entry


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: Json) -> int | None:
    return int(value) if _is_number(value) else None


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
