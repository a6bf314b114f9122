"""Names that are taken, said the way agno understands it: by the type of the exception."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import IntegrityError

from agentclock.core.errors import Conflict, NameTaken


class IdTaken(Conflict):
    def __init__(self, schedule_id: str) -> None:
        super().__init__(f"A schedule with id '{schedule_id}' already exists")


class UniqueViolation(IntegrityError):
    """What agno's `is_unique_violation` looks for; its text is ours alone, without SQL."""

    def __init__(self, cause: Conflict) -> None:
        super().__init__(str(cause), None, cause)

    def __str__(self) -> str:
        return str(self.orig)


@contextmanager
def as_agno_wants() -> Iterator[None]:
    """Raises UniqueViolation in place of NameTaken and IdTaken."""
    try:
        yield
    except (NameTaken, IdTaken) as error:
        raise UniqueViolation(error) from error
