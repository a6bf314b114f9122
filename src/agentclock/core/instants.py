"""Instants as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from agentclock.core.model import Instant

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso_utc(at: Instant) -> str:
    """RFC 3339 in UTC with milliseconds, e.g. "2026-03-29T01:00:00.000Z"."""
    return (_EPOCH + timedelta(milliseconds=at)).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at % 1000:03d}Z"
