"""Messages for people, as Slack's incoming webhooks take them (and those of Mattermost, and Discord's at /slack)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agentclock.core.model import Json
from agentclock.core.notices import NoticeKind

#: What Slack takes of one block of text is 3,000 characters; escapes make them more.
_ERROR_LENGTH: Final = 600
_OUTPUT_LENGTH: Final = 600
_NAME_LENGTH: Final = 200

_HEADLINES: Final = {
    NoticeKind.FAILED: (":x:", "failed"),
    NoticeKind.LOST: (":grey_question:", "is lost: nobody knows how it ended"),
    NoticeKind.PAUSED: (":raised_hand:", "waits for an approval"),
    NoticeKind.SUCCEEDED: (":white_check_mark:", "succeeded"),
    NoticeKind.MISSED: (":hourglass:", "missed"),
    NoticeKind.RECOVERED: (":white_check_mark:", "works again"),
    NoticeKind.DISABLED: (":no_entry:", "was disabled"),
}


def slack_body(kind: str, data: Json) -> dict[str, Any]:
    """`text` for notifications and for those who show no blocks, `blocks` for the rest."""
    told = data if isinstance(data, dict) else {}
    if kind not in _HEADLINES:
        text = f":wave: agentclock can reach this webhook ({_escaped(told.get('webhook'))})"
        return {"text": text, "blocks": [_section(text)]}
    headline, quoted = _headline(NoticeKind(kind), told), _quoted(told)
    blocks = [_section(headline if quoted is None else f"{headline}\n{quoted}")]
    if context := _context(told):
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": context}]})
    return {"text": headline, "blocks": blocks}


def _headline(kind: NoticeKind, told: Mapping[str, Any]) -> str:
    schedule, run, missed = (told.get(part) or {} for part in ("schedule", "run", "missed"))
    symbol, what = _HEADLINES[kind]
    name = _escaped(schedule.get("name") or schedule.get("id"), _NAME_LENGTH)
    if kind is NoticeKind.MISSED:
        count = missed.get("count", 0)
        what = f"missed {count} {'fire' if count == 1 else 'fires'}"
    elif kind is NoticeKind.FAILED and run.get("status") == "timeout":
        what = "timed out"
    elif kind is NoticeKind.DISABLED and (by := told.get("disabled", {}).get("by")):
        what = f"was disabled by {_escaped(by, _NAME_LENGTH)}"
    url = run.get("url") or schedule.get("url")
    return f"{symbol} *{f'<{url}|{name}>' if url else name}* {what}"


def _quoted(told: Mapping[str, Any]) -> str | None:
    """The reason, or what the run answered."""
    run, disabled = told.get("run") or {}, told.get("disabled") or {}
    text, length = run.get("error") or disabled.get("reason"), _ERROR_LENGTH
    if text is None and run.get("output") is not None:
        text, length = run["output"], _OUTPUT_LENGTH
        if isinstance(text, dict) and isinstance(text.get("content"), str):
            text = text["content"]
    return None if text in (None, "") else f"```{_escaped(text, length).replace('```', '` ` `')}```"


def _context(told: Mapping[str, Any]) -> str:
    run, missed, schedule = (told.get(part) or {} for part in ("run", "missed", "schedule"))
    parts = []
    if run:
        parts.append(f"fire time {_escaped(run.get('fire_at'))}, attempt {_escaped(run.get('attempt'))}")
        parts.append(f"run {_escaped(run.get('id'))}")
    if run.get("approval_due_at"):
        parts.append(f"until {_escaped(run['approval_due_at'])}")
    if missed:
        first, last = _escaped(missed.get("first_fire_at")), _escaped(missed.get("last_fire_at"))
        parts.append(first if first == last else f"{first} to {last}")
        parts.append(_escaped(missed.get("reason")))
    if schedule.get("tags"):
        parts.append(_escaped(", ".join(map(str, schedule["tags"])), _NAME_LENGTH))
    return " · ".join(parts)


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _escaped(value: object, length: int = 100) -> str:
    """As text that Slack takes for nothing but text: names such as <!channel> call nobody."""
    text = str(value)
    text = text if len(text) <= length else f"{text[: length - 1]}…"
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
