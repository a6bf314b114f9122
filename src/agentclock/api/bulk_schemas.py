"""The wire shapes of what is done to many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from agentclock.triggering import Reason

MOST_ROWS: Final = 1_000

Id: TypeAlias = Annotated[str, Field(max_length=64)]
Moment: TypeAlias = Annotated[str, Field(min_length=1, max_length=64)]


class Schedules(BaseModel):
    """Which schedules."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"ids": ["019b76da-a800-7d3c"]}]})

    ids: Annotated[
        list[Id], Field(min_length=1, max_length=MOST_ROWS, description="Each is a row of the answer, in this order.")
    ]
    reason: Reason = None


class RunRef(BaseModel):
    """Which run."""

    model_config = ConfigDict(extra="forbid")

    schedule_id: Id = Field(description="The schedule that it belongs to.")
    run_id: Id = Field(description="Its `id`.")


class RunsToCancel(BaseModel):
    """Which runs."""

    model_config = ConfigDict(extra="forbid")

    runs: Annotated[
        list[RunRef],
        Field(min_length=1, max_length=MOST_ROWS, description="Each is a row of the answer, in this order."),
    ]
    reason: Reason = None


class RunsToRetry(BaseModel):
    """Which runs: these, or those that failed in the same way."""

    model_config = ConfigDict(
        extra="forbid",
        populate_by_name=True,
        json_schema_extra={"examples": [{"fingerprint": "3f1c", "from": "2026-03-28"}]},
    )

    runs: Annotated[
        list[RunRef] | None,
        Field(min_length=1, max_length=MOST_ROWS, description="Each is a row of the answer, in this order."),
    ] = None
    fingerprint: Annotated[
        str | None,
        Field(min_length=1, max_length=64, description="Of a group of failures; its newest 1,000 runs are run again."),
    ] = None
    since: Annotated[
        Moment | None, Field(alias="from", description="With a fingerprint: first fire time; null: seven days ago.")
    ] = None
    until: Annotated[
        Moment | None, Field(alias="to", description="With a fingerprint: the first fire time that does not count.")
    ] = None
    reason: Reason = None

    @model_validator(mode="after")
    def _one_of_both(self) -> RunsToRetry:
        if (self.runs is None) == (self.fingerprint is None):
            raise PydanticCustomError("runs", "Say either which runs or which fingerprint")
        if self.runs is not None and (self.since is not None or self.until is not None):
            raise PydanticCustomError("runs", "'from' and 'to' go with a fingerprint")
        return self


class BulkRow(BaseModel):
    """What became of one of them."""

    id: str = Field(description="The schedule's id, or the run's, as it was sent.")
    ok: bool
    status_code: int = Field(description="What the route for a single one would have answered with.")
    error: str | None = Field(description="What is in the way; null: nothing.")
    run_id: str | None = Field(description="`id` of the run that was made or cancelled; null: there is none.")


class BulkResult(BaseModel):
    """One row for each, in order; a row that failed has not stopped the others."""

    data: list[BulkRow]
    done: int = Field(description="How many rows are ok.")
    failed: int = Field(description="How many are not.")


def result_out(rows: Sequence[BulkRow]) -> BulkResult:
    done = sum(row.ok for row in rows)
    return BulkResult(data=list(rows), done=done, failed=len(rows) - done)


def one_row(identifier: str, status_code: int, *, error: Any = None, run_id: str | None = None) -> BulkRow:
    return BulkRow(id=identifier, ok=error is None, status_code=status_code, error=error, run_id=run_id)
