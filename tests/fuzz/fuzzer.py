"""Requests made from the OpenAPI document, right and wrong ones, and what is wrong with their answers."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
#: Of these each takes as long as a stream lasts, so that there are fewer.
STREAMS = "/events"
STREAM_SHARE = 0.002
#: Cases that one generator makes at most; then another one begins, and another route has its turn.
BATCH = 100
#: Every so many requests the ids that are used are looked up anew.
REFRESH_EVERY = 200
_HTTP = {"method": "POST", "endpoint": "/hook"}
_SCHEDULES: list[dict[str, Any]] = [
    {"name": "each-night", "cron_expr": "0 3 * * *", **_HTTP},
    {"name": "one-agent", "cron_expr": "30 7 * * mon-fri", "endpoint": "/agents/a/runs", "payload": {"message": "hi"}},
    {"name": "on-demand", "payload": {"a": 1}, **_HTTP},
    {"name": "each-hour", "interval_seconds": 3_600, "overlap": "allow", **_HTTP},
    {"name": "once", "run_at": "2999-01-01", "tags": ["fuzz"], **_HTTP},
]
_TIMINGS: dict[str, Any] = {"cron_expr": "0 3 * * *", "run_at": "2999-01-01", "interval_seconds": 3_600}
_SENSIBLE = {
    "endpoint": "/hook",
    "target": "default",
    "timezone": "Europe/Berlin",
    "start_at": "2026-01-01",
    "end_at": "2998-01-01",
    "fire_at": "2026-01-01",
    "from": "2026-01-01",
    "until": "2026-01-03",
    "to": "2026-01-03",
    "since": "2026-01-01",
    "cursor": "",
    "ping_url": "http://127.0.0.1:9/ping",
}


@dataclass(slots=True)
class Found:
    """What a fuzzing found: how often which status was answered, and each kind of failure once, with its request."""

    requests: int = 0
    streams: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)

    def summary(self) -> str:
        counted = ", ".join(f"{status}: {count}" for status, count in sorted(self.statuses.items()))
        return f"{self.requests} requests ({counted}), {len(self.failures)} failures"

    def report(self) -> str:
        return "\n\n".join([self.summary(), *self.failures.values()])


class Pool:
    """Ids and names of what is there, so that requests find something."""

    def __init__(self, url: str, session: requests.Session) -> None:
        self._url = url
        self._session = session
        self._ids: dict[str, list[str]] = {}

    def refresh(self) -> None:
        for draft in _SCHEDULES:
            made = self._session.post(f"{self._url}/schedules", json=draft, timeout=30)
            if made.status_code == 201:
                one = f"{self._url}/schedules/{made.json()['id']}"
                self._session.post(f"{one}/trigger", params={"wait": 1}, timeout=30)
                past = {"from": "2026-01-01", "until": "2026-01-02"}
                self._session.post(f"{one}/backfills", json=past, timeout=30)
        schedules = self._rows("/schedules")
        runs = self._rows("/runs")
        backfills = [row for one in schedules[:20] for row in self._rows(f"/schedules/{one['id']}/backfills")]
        self._ids = {
            "schedule_id": [row["id"] for row in schedules],
            "run_id": [row["id"] for row in runs],
            "backfill_id": [row["id"] for row in backfills],
            "name": [row["name"] for row in schedules],
            "pairs": [f"{row['schedule_id']} {row['id']}" for row in [*runs, *backfills]],
        }

    def fill(self, case: Case, choice: int, mode: GenerationMode) -> None:
        """Puts ids of what is there into the path, for three cases out of four. What is wrong stays wrong: names may
        be, ids not."""
        parameters = dict(case.path_parameters or {})
        if mode is GenerationMode.NEGATIVE:
            parameters.pop("name", None)
        if choice % 4 == 0 or not parameters:
            return
        known = {name: self._ids[name] for name in parameters if self._ids.get(name)}
        case.path_parameters = {
            **(case.path_parameters or {}),
            **{name: ids[choice % len(ids)] for name, ids in known.items()},
        }
        if len(known) == 2 and self._ids["pairs"]:
            schedule_id, other_id = self._ids["pairs"][choice % len(self._ids["pairs"])].split()
            (other,) = known.keys() - {"schedule_id"}
            case.path_parameters = {**case.path_parameters, "schedule_id": schedule_id, other: other_id}

    @staticmethod
    def amend(case: Case, choice: int) -> None:
        """Makes sense of what is right by its form alone, for two cases out of three: or hardly any would get far."""
        if choice % 3 == 0:
            return
        if isinstance(case.body, dict):
            case.body = _sensible(case.body, choice)
        if isinstance(case.query, dict):
            case.query = _sensible(case.query, choice)

    def _rows(self, path: str) -> list[dict[str, Any]]:
        answer = self._session.get(f"{self._url}{path}", params={"limit": 100}, timeout=30)
        rows: list[dict[str, Any]] = answer.json().get("data", []) if answer.ok else []
        return rows


def fuzz(
    url: str,
    *,
    requests_wanted: int,
    from_seed: int,
    headers: Mapping[str, str] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Found:
    """Sends so many requests to all routes of the server, in an order and with contents that follow from the seed.

    `tell` is told of each kind of failure when it is found.
    """
    found = Found()
    with requests.Session() as session:
        session.headers.update(headers or {})
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        operations = [result.ok() for result in schema.get_all_operations()]
        most = max(1, min(BATCH, requests_wanted // (len(operations) * len(GenerationMode))))
        pool = Pool(url, session)
        pool.refresh()
        shots = _Shots(url, session, pool, found, tell)
        refreshed_at = 0
        for batch, (operation, mode) in enumerate(_turns(operations, random.Random(from_seed))):
            if found.requests >= requests_wanted:
                return found
            if found.requests - refreshed_at >= REFRESH_EVERY:
                pool.refresh()
                refreshed_at = found.requests
            if operation.path.endswith(STREAMS) and found.streams > found.requests * STREAM_SHARE:
                continue
            size = 1 if operation.path.endswith(STREAMS) else min(most, requests_wanted - found.requests)
            shots.fire(operation, mode, size, from_seed * 1_000_003 + batch)
    return found


def _turns(operations: list[Any], chance: random.Random) -> Iterator[tuple[Any, GenerationMode]]:
    """Every route with right and with wrong data, again and again, each time in another order."""
    turns = [(operation, mode) for operation in operations for mode in GenerationMode]
    while True:
        chance.shuffle(turns)
        yield from turns


@dataclass(slots=True)
class _Shots:
    url: str
    session: requests.Session
    pool: Pool
    found: Found
    tell: Callable[[str], None]
    #: Routes to which nothing wrong can be said.
    barren: set[tuple[str, GenerationMode]] = field(default_factory=set)

    def fire(self, operation: Any, mode: GenerationMode, count: int, from_seed: int) -> None:
        turn = (operation.label, mode)
        takes_anything = operation.body or operation.query or operation.headers
        if turn in self.barren or (mode is GenerationMode.NEGATIVE and not takes_anything):
            return
        cases = operation.as_strategy(generation_mode=mode)

        @seed(from_seed)
        @settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=cases, choice=st.integers(0, 10_000))
        def shoot(case: Case, choice: int) -> None:
            self.pool.fill(case, choice, mode)
            if mode is GenerationMode.POSITIVE:
                self.pool.amend(case, choice)
            self._shoot(case)

        try:
            shoot()
        except Unsatisfiable:
            self.barren.add(turn)

    def _shoot(self, case: Case) -> None:
        query = dict(case.query or {})
        if _is_long(query.get("wait")):
            # A long wait is no error, but nothing is learned from it.
            case.query = {**query, "wait": 0.1}
        response = case.call(base_url=self.url, session=self.session, timeout=30)
        self.found.requests += 1
        self.found.statuses[response.status_code] += 1
        if case.operation.path.endswith(STREAMS):
            self.found.streams += 1
        try:
            case.validate_response(response, checks=CHECKS)
        except FailureGroup as group:
            for failure in group.exceptions:
                kind = f"{case.operation.label}: {type(failure).__name__}, {response.status_code}"
                command = case.as_curl_command()
                text = f"{kind}\n{failure}\n{response.text[:1_000]}\n{command[:2_000]}"
                if kind not in self.found.failures:
                    self.found.failures[kind] = text
                    self.tell(text)


def _sensible(fields: Mapping[str, Any], choice: int) -> dict[str, Any]:
    """The same fields with contents that belong together: one timetable, times that can be read, a target that is
    there."""
    timings = [name for name in _TIMINGS if fields.get(name)]
    kept = {name: value for name, value in fields.items() if name not in timings}
    if timings:
        timing = timings[choice % len(timings)]
        kept[timing] = _TIMINGS[timing]
    return kept | {name: value for name, value in _SENSIBLE.items() if kept.get(name)}


def _is_long(wait: object) -> bool:
    try:
        return float(str(wait)) > 1
    except ValueError:
        return False
