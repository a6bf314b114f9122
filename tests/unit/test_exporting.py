"""CronJobs and CloudFormation templates: valid by the published schemas, safe by default, honest in what differs."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cfnlint.config import ConfigMixIn
from cfnlint.decode import decode_str
from cfnlint.runner import Runner
from hypothesis import given, settings
from hypothesis import strategies as st

from agentclock.core.model import CatchUp, Schedule, Target
from agentclock.exporting import CURL_IMAGE, Eventbridge, Inexpressible, Kubernetes, entry, manifest, template, to_yaml
from agentclock.exporting.cloudformation import logical_name
from agentclock.exporting.kubernetes import resource_name

NOW = 1_780_000_000_000
DAY = 86_400_000
SCHEDULE = Schedule(
    id="01a20892-eaaa-72ed-84f5-05cd90583ff0",
    name="nightly-report",
    target=Target(endpoint="/agents/reporter/runs"),
    cron_expr="30 2 * * 1-5",
    timezone="Europe/Berlin",
)
CLUSTER = Kubernetes(base_url="http://agentclock.agentclock.svc:7777/", namespace="clocks")
AWS = Eventbridge(base_url="https://clock.example.com")


def cronjob(schedule: Schedule = SCHEDULE, options: Kubernetes = CLUSTER) -> dict[str, Any]:
    return manifest(schedule, options, NOW, active=True).content


def stack(*schedules: Schedule, options: Eventbridge = AWS) -> dict[str, Any]:
    return template([entry(schedule, options, NOW, active=True) for schedule in schedules], options)


def of_type(made: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [resource["Properties"] for resource in made["Resources"].values() if resource["Type"] == kind]


# Kubernetes


@pytest.mark.parametrize("version", ["1.27", "1.37"])
def test_a_cronjob_is_valid(version: str) -> None:
    kubernetes_validate.validate(yaml.safe_load(to_yaml(cronjob())), version, strict=True)
    wrong = cronjob()
    wrong["spec"]["startingDeadline"] = 10
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_a_cronjob_keeps_the_schedules_time_and_never_runs_twice_at_once() -> None:
    spec = cronjob()["spec"]
    assert (spec["schedule"], spec["timeZone"]) == ("30 2 * * 1-5", "Europe/Berlin")
    assert (spec["concurrencyPolicy"], spec["suspend"]) == ("Forbid", False)
    assert cronjob(replace(SCHEDULE, timezone="UTC"))["spec"]["timeZone"] == "Etc/UTC"
    assert manifest(SCHEDULE, CLUSTER, NOW, active=False).content["spec"]["suspend"] is True


def test_the_pod_may_do_nothing_but_call() -> None:
    pod = cronjob()["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["restartPolicy"] == "Never"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert re.fullmatch(r"curlimages/curl:\d+\.\d+\.\d+", CURL_IMAGE)
    assert container["resources"]["limits"]["memory"]


def test_the_token_comes_from_a_secret_and_stays_off_the_command_line() -> None:
    options = replace(CLUSTER, secret="clock-key", secret_key="bearer")
    [container] = cronjob(options=options)["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    sources = {variable["name"]: variable["valueFrom"] for variable in container["env"]}
    assert sources["AGENTCLOCK_TOKEN"] == {"secretKeyRef": {"name": "clock-key", "key": "bearer"}}
    script = container["command"][-1]
    [line] = [line for line in script.splitlines() if "AGENTCLOCK_TOKEN" in line]
    assert line.startswith("printf ")  # built into the shell: no process has it as an argument
    assert f"/schedules/{SCHEDULE.id}/trigger?wait=0" in script
    assert "svc:7777//" not in script


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({}, 86_400),
        ({"catch_up": CatchUp.NONE}, 60),
        ({"catch_up": CatchUp.NONE, "misfire_grace_seconds": 600}, 600),
        ({"catch_up": CatchUp.NONE, "misfire_grace_seconds": 0}, 60),
        ({"catch_up_window_seconds": 7200}, 7200),
        # Kubernetes gives up on more than 100 missed fires.
        ({"cron_expr": "*/5 * * * *"}, 90 * 300),
        ({"cron_expr": "* * * * *", "catch_up_window_seconds": 120}, 120),
    ],
)
def test_how_late_a_job_may_start_follows_the_schedules_policies(changes: dict[str, Any], seconds: int) -> None:
    assert cronjob(replace(SCHEDULE, **changes))["spec"]["startingDeadlineSeconds"] == seconds


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"cron_expr": None}, "cron_expr"),
        ({"cron_expr": None, "run_at": NOW + DAY}, "run_at"),
        ({"cron_expr": None, "interval_seconds": 300}, "interval_seconds"),
        ({"start_at": NOW + DAY}, "start_at"),
        ({"end_at": NOW + DAY}, "end_at"),
        ({"max_runs": 3}, "max_runs"),
        ({"cron_expr": "0 0 L * *"}, "day-of-month"),
        ({"cron_expr": "0 0 * * fri#2"}, "day-of-week"),
    ],
)
def test_what_a_cronjob_cannot_keep_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(Inexpressible) as caught:
        cronjob(replace(SCHEDULE, **changes))
    assert caught.value.field == field
    assert len(caught.value.reason) > 20


def test_a_start_that_has_passed_is_no_matter() -> None:
    assert cronjob(replace(SCHEDULE, start_at=NOW - DAY))["spec"] == cronjob()["spec"]


def test_differences_are_told() -> None:
    by_clock = replace(SCHEDULE, jitter_seconds=30, catch_up=CatchUp.ALL)
    told = manifest(by_clock, CLUSTER, NOW, active=True)
    assert [remark.split()[0] for remark in told.remarks] == ["jitter_seconds", "catch_up", "where"]
    assert "fires twice" in told.content["metadata"]["annotations"]["agentclock/differences"]
    for same in (replace(SCHEDULE, timezone="UTC"), replace(SCHEDULE, cron_expr="*/5 * * * *")):
        assert manifest(same, CLUSTER, NOW, active=True).remarks == ()


def test_names_belong_to_one_schedule_and_stay() -> None:
    assert resource_name(SCHEDULE) == "nightly-report"
    others = [
        replace(SCHEDULE, name="Nightly Report"),
        replace(SCHEDULE, name="nightly_report", id="other"),
        replace(SCHEDULE, name="nightly-report", id="third", user_id="ada"),
        replace(SCHEDULE, name="n" * 90),
        replace(SCHEDULE, name="n" * 89 + "x", id="fifth"),
        replace(SCHEDULE, name="日報"),
    ]
    names = {resource_name(schedule) for schedule in (SCHEDULE, *others)}
    assert len(names) == 1 + len(others)
    assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?", name) for name in names)
    logical = {logical_name(schedule) for schedule in (SCHEDULE, *others[1:])}
    assert len(logical) == len(others)
    assert all(re.fullmatch(r"[A-Za-z0-9]+", name) for name in logical)


# AWS


def test_templates_pass_cfn_lint() -> None:
    often = replace(SCHEDULE, id="2", name="often", cron_expr=None, interval_seconds=300, start_at=NOW + DAY)
    once = replace(SCHEDULE, id="3", name="once", cron_expr=None, run_at=NOW + DAY)
    linter = Runner(ConfigMixIn(regions=["eu-central-1", "us-east-1"]))  # one for all, as it reads its rules first

    def rules_broken(text: str) -> list[str]:
        made, errors = decode_str(text)
        assert made is not None, errors
        return [match.rule.id for match in linter.validate_template(made)]

    assert rules_broken(to_yaml(stack(SCHEDULE, often, once))) == []
    utc = replace(SCHEDULE, timezone="UTC")
    assert rules_broken(to_yaml(stack(utc, options=replace(AWS, by_rule=True, secret_key="token")))) == []
    wrong = to_yaml(stack(SCHEDULE)).replace("MaximumRetryAttempts: 185", "MaximumRetryAttempts: 1850")
    assert rules_broken(wrong) == ["E3034", "E3034"]


def test_every_occurrence_has_a_key_of_its_own_and_retries_share_it() -> None:
    made = stack(SCHEDULE)
    [timer] = of_type(made, "AWS::Scheduler::Schedule")
    detail = json.loads(timer["Target"]["Input"])
    assert "<aws.scheduler.scheduled-time>" in detail["key"]
    assert SCHEDULE.id in detail["key"]
    # These two change with every attempt.
    assert "execution-id" not in timer["Target"]["Input"]
    assert "attempt-number" not in timer["Target"]["Input"]
    [rule] = of_type(made, "AWS::Events::Rule")
    assert rule["Targets"][0]["HttpParameters"]["HeaderParameters"] == {"Idempotency-Key": "$.detail.key"}
    [by_rule] = of_type(
        stack(replace(SCHEDULE, timezone="UTC"), options=replace(AWS, by_rule=True)), "AWS::Events::Rule"
    )
    assert by_rule["ScheduleExpression"] == "cron(30 2 ? * MON-FRI *)"
    assert by_rule["Targets"][0]["HttpParameters"]["HeaderParameters"] == {"Idempotency-Key": "$.id"}


def test_aws_may_do_nothing_but_this() -> None:
    made = stack(SCHEDULE, replace(SCHEDULE, id="2", name="other"))
    for role in of_type(made, "AWS::IAM::Role"):
        [trust] = role["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
        for statement in role["Policies"][0]["PolicyDocument"]["Statement"]:
            assert "*" not in json.dumps(statement)
    [connection] = of_type(made, "AWS::Events::Connection")
    key = connection["AuthParameters"]["ApiKeyAuthParameters"]
    assert key == {"ApiKeyName": "Authorization", "ApiKeyValue": "Bearer {{resolve:secretsmanager:agentclock/token}}"}
    patterns = [rule["EventPattern"]["detail"] for rule in of_type(made, "AWS::Events::Rule")]
    assert patterns == [{"schedule_id": [SCHEDULE.id]}, {"schedule_id": ["2"]}]


def test_one_offs_bounds_and_intervals_of_aws() -> None:
    bounded = replace(SCHEDULE, start_at=NOW + DAY, end_at=NOW + 2 * DAY)
    [timer] = of_type(stack(bounded), "AWS::Scheduler::Schedule")
    assert (timer["StartDate"], timer["EndDate"]) == ("2026-05-29T20:26:40Z", "2026-05-30T20:26:30Z")
    [timer] = of_type(stack(replace(SCHEDULE, start_at=NOW - DAY)), "AWS::Scheduler::Schedule")
    assert "StartDate" not in timer
    [timer] = of_type(stack(replace(SCHEDULE, cron_expr=None, run_at=NOW + DAY)), "AWS::Scheduler::Schedule")
    assert timer["ScheduleExpression"] == "at(2026-05-29T20:26:40)"
    assert timer["ScheduleExpressionTimezone"] == "UTC"
    assert timer["FlexibleTimeWindow"] == {"Mode": "OFF"}
    [timer] = of_type(stack(replace(SCHEDULE, cron_expr=None, interval_seconds=7200)), "AWS::Scheduler::Schedule")
    assert timer["ScheduleExpression"] == "rate(2 hours)"


@pytest.mark.parametrize(
    ("changes", "by_rule", "field"),
    [
        ({"cron_expr": None}, False, "cron_expr"),
        ({"max_runs": 3}, False, "max_runs"),
        ({"cron_expr": None, "interval_seconds": 90}, False, "interval_seconds"),
        ({"cron_expr": None, "run_at": NOW - DAY}, False, "run_at"),
        ({"end_at": NOW - DAY}, False, "end_at"),
        ({"cron_expr": "0 0 13 * fri"}, False, "day-of-month"),
        ({}, True, "timezone"),
        ({"timezone": "UTC", "end_at": NOW + DAY}, True, "end_at"),
        ({"cron_expr": None, "run_at": NOW + DAY}, True, "run_at"),
    ],
)
def test_what_aws_cannot_keep_is_refused(changes: dict[str, Any], by_rule: bool, field: str) -> None:
    with pytest.raises(Inexpressible) as caught:
        entry(replace(SCHEDULE, **changes), replace(AWS, by_rule=by_rule), NOW, active=True)
    assert caught.value.field == field


# YAML


def plain_data() -> st.SearchStrategy[Any]:
    texts = st.text() | st.sampled_from(["on", "No", "1e3", "0x1f", "~", "- a", "a: b", "a\nb\n", "# c", "12:30:00"])
    leaves = st.none() | st.booleans() | st.integers() | texts
    return st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=20)


@settings(max_examples=60)
@given(plain_data())
def test_yaml_is_read_as_it_was_meant(value: Any) -> None:
    assert yaml.safe_load(to_yaml(value)) == value


@pytest.mark.parametrize(
    "text", ["a\n  b\n\nc\n", "a\n", "a\n\n", "a b\n c", "\na\n", " a\nb\n", "a \nb\n", "#a\n b\n"]
)
def test_scripts_keep_their_lines(text: str) -> None:
    for value in (text, [text, "x"], {"command": [text], "after": text, "last": 1}):
        assert yaml.safe_load(to_yaml(value)) == value
