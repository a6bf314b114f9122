"""Ids of traces and spans (W3C Trace Context), computed from a run: whoever carries it on tells the same story.

trace = run ── span of the run ── span of each attempt ── span of each claim of it: what a worker did, and what targets
                                                           are told as their parent
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from agentclock.core.model import Run

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


def trace_id(run_id: str) -> str:
    """32 hexadecimal digits: those of the run's id, which is a UUID."""
    return run_id.replace("-", "")


def run_span_id(run_id: str) -> str:
    """16 hexadecimal digits, like those of the other spans."""
    return _span_id(run_id)


def attempt_span_id(run: Run) -> str:
    """That of the run's present attempt."""
    return _span_id(f"{run.id}|{run.attempt}")


def request_span_id(run: Run) -> str:
    """That of what is done under the present claim: a worker that takes the attempt up begins another one."""
    return _span_id(f"{run.id}|{run.attempt}|{run.fence}")


def trigger_span_id(run_id: str) -> str:
    """That of the request that asked for the run, in the trace of whoever sent it."""
    return _span_id(f"{run_id}|trigger")


def traceparent(run: Run, *, is_sampled: bool = True) -> str:
    """The header that tells a target which span its own ones belong to.

    Sampled unless it is known that nobody wants this trace: a target that follows its callers would record nothing of
    its own otherwise.
    """
    return f"00-{trace_id(run.id)}-{request_span_id(run)}-{is_sampled:02x}"


def caller_of(header: str | None) -> tuple[str, str] | None:
    """Trace and span of whoever sent this `traceparent`; None for none, and for what cannot be read."""
    found = _TRACEPARENT.fullmatch((header or "").strip())
    if found is None or found[1] == "ff" or (found[1] == "00" and found[5]):
        return None
    if not int(found[2], 16) or not int(found[3], 16):
        return None
    return found[2], found[3]


def _span_id(key: str) -> str:
    # All zeros would be invalid, and is as likely as any other one of 2^64.
    return hashlib.blake2b(key.encode(), digest_size=8, person=b"span").hexdigest()
