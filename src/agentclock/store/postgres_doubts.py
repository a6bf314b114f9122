"""Claims whose commit was never confirmed.

A connection that breaks between COMMIT and its answer leaves the client in doubt. If the claim was written, its
worker does not know that it holds the run, and keeps the lease under which nobody else may take it: without this
the run would never be executed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from agentclock.core.model import Claim
from agentclock.store.postgres_pool import Session


class Doubts:
    """The claims of one store that may have been written although the caller was told of a failure."""

    def __init__(self) -> None:
        self._claims: dict[str, Claim] = {}

    def __bool__(self) -> bool:
        return bool(self._claims)

    @contextmanager
    def noted(self) -> Iterator[list[Claim]]:
        """Put into the list what a transaction is about to claim; if it fails after that, nobody knows whether."""
        about_to_claim: list[Claim] = []
        try:
            yield about_to_claim
        except BaseException:
            self._claims |= {claim.run.id: claim for claim in about_to_claim}
            raise

    def take(self) -> list[Claim]:
        """All of them; the caller undoes them, or notes them again."""
        taken, self._claims = list(self._claims.values()), {}
        return taken


async def undo_claims(session: Session, claims: Sequence[Claim]) -> None:
    """Makes each such run pending again, its attempt never begun. Nothing happens to one that was not written or
    that another worker holds: fence and worker must both be those of the claim."""
    await session.rows(
        "undo_claims",
        ids=[claim.run.id for claim in claims],
        fences=[claim.run.fence for claim in claims],
        worker_ids=[claim.run.worker_id for claim in claims],
    )
