"""Past attempts as rows, for both databases. Those of our own begin as claims and end as settlements."""

from __future__ import annotations

from typing import Any

from agentclock.core.model import Attempt
from agentclock.store.rows import clean_text


def encode_attempt(attempt: Attempt) -> dict[str, Any]:
    """Column -> value; what was used up is not among them."""
    return {
        "run_id": attempt.run_id,
        "number": attempt.number,
        "status": attempt.status.value,
        "worker": clean_text(attempt.worker),
        "started_at": attempt.started_at,
        "completed_at": attempt.completed_at,
        "status_code": attempt.status_code,
        "agent_run_id": clean_text(attempt.agent_run_id),
        "error": clean_text(attempt.error),
    }
