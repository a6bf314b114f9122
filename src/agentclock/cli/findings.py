"""What `agentclock doctor` finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    TROUBLE = "trouble"

    @property
    def style(self) -> str:
        return {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.TROUBLE: "bold red"}[self]


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    verdict: Verdict
    detail: str
