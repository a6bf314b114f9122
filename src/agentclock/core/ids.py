"""Identifiers that sort by time (RFC 9562)."""

from __future__ import annotations

import hashlib
import uuid

from agentclock.core.model import Instant


def fire_run_id(schedule_id: str, fire_at: Instant) -> str:
    """The id of the one run that a fire can have: a UUIDv8 of the fire time and the schedule.

    Being a function of both, it makes the primary key the guard against firing twice, whoever fires.
    """
    digest = hashlib.blake2b(f"{schedule_id}|{fire_at}".encode(), digest_size=10).digest()
    return _time_ordered(fire_at, digest, version=8)


def backfill_run_id(schedule_id: str, fire_at: Instant, number: int) -> str:
    """The id of the `number`-th run (from 1) that backfills make for a fire; two at once make the same."""
    digest = hashlib.blake2b(f"{schedule_id}|{fire_at}|{number}".encode(), digest_size=10, person=b"backfill").digest()
    return _time_ordered(fire_at, digest, version=8)


def uuid7(now: Instant, entropy: bytes) -> str:
    """A UUIDv7 for `now` from 10 bytes of randomness (the standard library has it from 3.14 only)."""
    return _time_ordered(now, entropy, version=7)


def time_ordered_id(at: Instant, digest: bytes) -> str:
    """A UUIDv8 for `at` from 10 bytes that say what it is the id of."""
    return _time_ordered(at, digest, version=8)


def attempt_run_id(run_id: str, attempt: int) -> str:
    """The id we give AgentOS for its own run, known before the request is sent and after any crash."""
    return str(uuid.uuid5(uuid.UUID(run_id), f"attempt-{attempt}"))


def run_session_id(run_id: str) -> str:
    """The session of a run whose payload names none; all attempts of the run share it."""
    return str(uuid.uuid5(uuid.UUID(run_id), "session"))


def spread_ms(schedule_id: str, jitter_seconds: int) -> int:
    """This schedule's own constant delay within its jitter, in ms."""
    if jitter_seconds <= 0:
        return 0
    digest = hashlib.blake2b(schedule_id.encode(), digest_size=8, person=b"jitter").digest()
    return int.from_bytes(digest, "big") % (jitter_seconds * 1000)


def _time_ordered(at: Instant, tail: bytes, *, version: int) -> str:
    value = (at & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(tail[:10], "big")
    value = value & ~(0xF000 << 64) & ~(0xC000 << 48) | version << 76 | 0x8000 << 48
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
