"""What notices say, and how people read it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentclock.config import Settings, WebhookFormat
from agentclock.core.errors import ConfigError, CorruptRow
from agentclock.core.lifecycle import settle
from agentclock.core.model import Cause, Claim, Outcome, OutcomeKind, Reason, Run, RunStatus, Schedule, Target
from agentclock.core.notices import Notice, NoticeKind, Subscription
from agentclock.core.noticing import (
    ERROR_LENGTH,
    OUTPUT_LENGTH,
    of_absences,
    of_disabled,
    of_settlements,
    of_unreadable,
    perhaps_recovered,
)
from agentclock.core.planning import Absence
from agentclock.webhooks.messages import message_of, ping_message, written
from agentclock.webhooks.slack import slack_body
from agentclock.webhooks.station import subscriptions_of

NOW = 1_767_225_600_000
SCHEDULE = Schedule(id="s1", name="Tages<!channel>bericht & mehr", target=Target(endpoint="/x"), tags=("night",))
EVERYTHING = Subscription(webhook="ops", kinds=frozenset(NoticeKind), with_output=True)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def claim(cause: Cause = Cause.SCHEDULE) -> Claim:
    run = Run(
        id="01234567-89ab-8def-8123-456789abcdef",
        schedule_id="s1",
        cause=cause,
        fire_at=NOW - 5_000,
        status=RunStatus.RUNNING,
        attempt=2,
        fence=3,
        started_at=NOW - 4_000,
        agent_run_id="agent-1",
    )
    return Claim(run=run, schedule=SCHEDULE)


def notices(outcome: Outcome, *subscriptions: Subscription, cause: Cause = Cause.SCHEDULE) -> list[Notice]:
    """As if the run before had gone wrong."""
    settlements = [settle(claim(cause), outcome, NOW)]
    recovered = [run_id for run_id, _ in perhaps_recovered(subscriptions or (EVERYTHING,), settlements)]
    return of_settlements(subscriptions or (EVERYTHING,), settlements, recovered)


def test_what_is_said_of_a_run() -> None:
    (notice,) = notices(Outcome(kind=OutcomeKind.FAILED, error="boom"))
    assert notice.data == {
        "schedule": {"id": "s1", "name": SCHEDULE.name, "tags": ["night"], "user_id": None},
        "run": {
            "id": "01234567-89ab-8def-8123-456789abcdef",
            "cause": "schedule",
            "fire_at": "2025-12-31T23:59:55.000Z",
            "attempt": 2,
            "status": "failed",
            "error": "boom",
            "started_at": "2025-12-31T23:59:56.000Z",
            "completed_at": "2026-01-01T00:00:00.000Z",
            "agent_run_id": "agent-1",
        },
    }


def test_a_run_that_waits_says_until_when() -> None:
    (notice,) = notices(Outcome(kind=OutcomeKind.PAUSED))
    assert notice.data["run"]["approval_due_at"] == "2026-01-02T00:00:00.000Z"
    assert notice.data["run"]["completed_at"] is None


@pytest.mark.parametrize(
    ("output", "is_cut"), [({"content": "x"}, False), ("y" * OUTPUT_LENGTH, False), ({"c": "z" * 70_000}, True)]
)
def test_output_goes_along_if_it_is_wanted(output: Any, is_cut: bool) -> None:
    done = Outcome(kind=OutcomeKind.SUCCESS, output=output)
    by_kind = {notice.kind: notice for notice in notices(done)}
    run = by_kind[NoticeKind.SUCCEEDED].data["run"]
    assert run.get("output_is_cut", False) is is_cut
    assert len(run["output"]) == OUTPUT_LENGTH if is_cut else run["output"] == output
    assert "output" not in by_kind[NoticeKind.RECOVERED].data["run"]
    (plain,) = notices(done, Subscription(webhook="w", kinds=frozenset({NoticeKind.SUCCEEDED})))
    assert "output" not in plain.data["run"]


def test_the_past_recovers_nothing() -> None:
    done = Outcome(kind=OutcomeKind.SUCCESS)
    assert [notice.kind for notice in notices(done, cause=Cause.BACKFILL)] == [NoticeKind.SUCCEEDED]
    assert [notice.kind for notice in notices(done)] == [NoticeKind.SUCCEEDED, NoticeKind.RECOVERED]


def test_long_errors_are_cut() -> None:
    (notice,) = notices(Outcome(kind=OutcomeKind.FAILED, error="e" * 10_000))
    assert len(notice.data["run"]["error"]) == ERROR_LENGTH


def test_the_same_news_has_the_same_id_for_each_webhook() -> None:
    both = (EVERYTHING, Subscription(webhook="other", kinds=frozenset(NoticeKind)))
    first, again = (notices(Outcome(kind=OutcomeKind.FAILED), *both) for _ in range(2))
    assert [notice.id for notice in first] == [notice.id for notice in again]
    assert len({notice.id for notice in first}) == 2


def absence(status: RunStatus = RunStatus.MISSED) -> Absence:
    return Absence(
        run_id="01234567-89ab-8def-8123-456789abcdef",
        status=status,
        reason=Reason.OUTSIDE_WINDOW,
        cause=Cause.SCHEDULE,
        fire_at=NOW,
        last_fire_at=NOW + 60_000,
        count=2,
    )


def test_what_nobody_subscribed_to_is_not_told() -> None:
    quiet = Subscription(webhook="quiet", kinds=frozenset())
    elsewhere = Subscription(webhook="elsewhere", kinds=frozenset(NoticeKind), tags=("day",))
    assert notices(Outcome(kind=OutcomeKind.FAILED), quiet, elsewhere) == []
    assert of_absences([quiet, elsewhere], [(SCHEDULE, absence())], NOW) == []
    assert of_disabled([quiet, elsewhere], [(SCHEDULE, "why")], NOW, None) == []
    assert of_unreadable([quiet, elsewhere], [CorruptRow("schedules", "s1", "why")], NOW, None) == []


def every_notice() -> list[Notice]:
    outcomes = [Outcome(kind=kind, error="<boom> & ```worse```") for kind in OutcomeKind]
    return [
        *(notice for outcome in outcomes for notice in notices(outcome)),
        *of_absences([EVERYTHING], [(SCHEDULE, absence())], NOW),
        *of_disabled([EVERYTHING], [(SCHEDULE, "no <zone>")], NOW, "ann"),
        *of_unreadable([EVERYTHING], [CorruptRow("schedules", "s2", "overlap: both")], NOW, "agentclock"),
    ]


def test_every_kind_has_its_words_for_people() -> None:
    seen = set()
    for notice in every_notice():
        seen.add(notice.kind)
        message = message_of(notice, "https://clock.example")
        body = json.loads(written(message, WebhookFormat.SLACK))
        texts = [body["text"], body["blocks"][0]["text"]["text"]]
        assert all("<!channel>" not in text and "<boom>" not in text for text in texts), texts
        assert f"<https://clock.example/schedules/{notice.schedule_id}" in body["text"]
        assert len(texts[1]) < 3_000
    assert seen == set(NoticeKind)


def test_how_people_read_a_failure() -> None:
    (notice,) = notices(Outcome(kind=OutcomeKind.FAILED, error="<boom>"))
    body = slack_body(notice.kind, notice.data)
    assert body == {
        "text": ":x: *Tages&lt;!channel&gt;bericht &amp; mehr* failed",
        "blocks": [
            {
                "type": "section",
                "text": {
                    "type": "mrkdwn",
                    "text": ":x: *Tages&lt;!channel&gt;bericht &amp; mehr* failed\n```&lt;boom&gt;```",
                },
            },
            {
                "type": "context",
                "elements": [
                    {
                        "type": "mrkdwn",
                        "text": "fire time 2025-12-31T23:59:55.000Z, attempt 2 · "
                        "run 01234567-89ab-8def-8123-456789abcdef · night",
                    }
                ],
            },
        ],
    }


def test_other_words() -> None:
    def headline(*found: Notice) -> str:
        text: str = slack_body(found[0].kind, found[0].data)["text"]
        return text.split("* ")[1]

    assert headline(*notices(Outcome(kind=OutcomeKind.TIMEOUT))) == "timed out"
    assert headline(*of_absences([EVERYTHING], [(SCHEDULE, absence())], NOW)) == "missed 2 fires"
    assert headline(*of_disabled([EVERYTHING], [(SCHEDULE, None)], NOW, "ann")) == "was disabled by ann"
    assert "reach" in slack_body("ping", {"webhook": "ops"})["text"]


def test_a_message_without_a_public_url_has_no_links() -> None:
    (notice,) = notices(Outcome(kind=OutcomeKind.FAILED))
    body = json.loads(written(message_of(notice, None), WebhookFormat.STANDARD))
    assert body == {"type": "run.failed", "timestamp": "2026-01-01T00:00:00.000Z", "data": notice.data}
    ping = json.loads(written(ping_message("m", "ops", NOW), WebhookFormat.STANDARD))
    assert ping == {"type": "ping", "timestamp": "2026-01-01T00:00:00.000Z", "data": {"webhook": "ops"}}


def test_subscriptions_of_the_settings() -> None:
    settings = Settings.load(
        webhooks={
            "ops": {"url": "https://a.example/hook", "secret": SECRET},
            "chat": {
                "url": "${secret:CHAT_URL}",
                "format": "slack",
                "events": ["run.succeeded"],
                "tags": ["night"],
                "with_output": True,
            },
        }
    )
    assert subscriptions_of(settings.webhooks) == (
        Subscription(webhook="ops"),
        Subscription(webhook="chat", kinds=frozenset({NoticeKind.SUCCEEDED}), tags=("night",), with_output=True),
    )


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ({"url": "https://a.example/topsecret"}, "needs a secret"),
        ({"url": "https://a.example/topsecret", "secret": "topsecret!"}, "whsec_ and base64"),
        ({"url": "https://a.example/x", "secret": SECRET, "secrets_before": ["whsec_topsecret!"]}, "whsec_ and base64"),
        ({"url": "ftp://topsecret", "secret": SECRET}, "http:// or https://"),
        ({"url": "https://me:topsecret@a.example", "secret": SECRET}, "user name"),
        ({"url": "https://a.example/x", "secret": SECRET, "events": ["run.exploded"]}, "run.failed"),
        ({"url": "https://a.example/x", "secret": SECRET, "color": "red"}, "known are"),
    ],
)
def test_settings_that_cannot_work_are_refused(entry: dict[str, object], what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        Settings.load(webhooks={"ops": entry})
    assert "topsecret" not in str(caught.value)


def test_names_of_webhooks() -> None:
    with pytest.raises(ConfigError, match="a webhook's name"):
        Settings.load(webhooks={"two words": {"url": "https://a.example/x", "secret": SECRET}})
