"""Schedules as a CloudFormation template: EventBridge keeps the time and triggers each schedule over HTTPS.

    Scheduler::Schedule -> event on a bus of its own -> Rule -> API destination (the schedule's trigger URL)

The event names its occurrence, and from that comes the Idempotency-Key: however often AWS tries again, it is one run.
With `by_rule` a rule keeps the time itself, which is fewer parts, but in UTC alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agentclock.core.cron import Cron, CronKind
from agentclock.core.model import DAY_SECONDS, Instant, Schedule
from agentclock.exporting.aws_schedule import AwsTimes, aws_times
from agentclock.exporting.handover import (
    HandedOver,
    Inexpressible,
    fingerprint,
    late_seconds,
    remarks_on_policies,
    trigger_url,
    zone_changes,
)

#: CloudFormation's limit is 500 resources, and each schedule takes three.
MOST_SCHEDULES: Final = 160

#: EventBridge gives up after as many retries, or when the event is as old; both are its own limits.
_RETRIES: Final = 185
_EVENT_AGE: Final = (60, DAY_SECONDS)
_SOURCE: Final = "agentclock"
_DETAIL_TYPE: Final = "agentclock.due"
_SCHEDULED_TIME: Final = "<aws.scheduler.scheduled-time>"

Resources = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Eventbridge:
    """`secret`: name or ARN in Secrets Manager of the bearer token; `secret_key`: where that is JSON, the key in it."""

    base_url: str
    secret: str = "agentclock/token"
    secret_key: str | None = None
    by_rule: bool = False


def template(parts: Sequence[HandedOver], options: Eventbridge) -> dict[str, Any]:
    """The whole of it, from what `entry` made of each schedule."""
    resources: Resources = _shared(options) | {"InvokeRole": _invoke_role(parts)}
    if not options.by_rule:
        resources |= {"Bus": _bus(), "SchedulerRole": _scheduler_role()}
    for part in parts:
        resources |= part.content
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "EventBridge triggers schedules that are on demand in agentclock.",
        "Resources": resources,
    }


def entry(schedule: Schedule, options: Eventbridge, now: Instant, *, active: bool) -> HandedOver:
    """The resources of one schedule, its clock disabled unless `active`. Raises Inexpressible."""
    times = aws_times(schedule, now)
    name = logical_name(schedule)
    destination = _destination(schedule, options)
    if options.by_rule:
        _check_rule(times)
        clock: Resources = {"ScheduleExpression": times.expression, "State": _state(active)}
        made = {f"{name}Rule": _rule(schedule, name, clock, key="$.id", due="$.time")}
    else:
        clock = {"EventBusName": {"Ref": "Bus"}, "EventPattern": _pattern(schedule), "State": "ENABLED"}
        made = {
            f"{name}Rule": _rule(schedule, name, clock, key="$.detail.key", due="$.detail.fire_at"),
            f"{name}Schedule": _timer(schedule, times, active),
        }
    content = {f"{name}Destination": destination, **made}
    return HandedOver(schedule=schedule, content=content, remarks=tuple(_remarks(schedule, now)))


def logical_name(schedule: Schedule) -> str:
    words = re.findall(r"[A-Za-z0-9]+", schedule.name)
    return "".join(word[0].upper() + word[1:] for word in words)[:60] + fingerprint(schedule).capitalize()


def _remarks(schedule: Schedule, now: Instant) -> Iterator[str]:
    yield from remarks_on_policies(schedule)
    if schedule.interval_seconds is not None:
        yield "the interval counts from when AWS makes the entry, not from when it does here"
    elif schedule.cron_expr and zone_changes(schedule, now):
        if Cron.parse(schedule.cron_expr).kind is CronKind.FIXED:
            yield "where clocks go forward, AWS leaves out a time that does not exist; agentclock would fire after it"
        else:
            yield "where clocks go back, AWS does not repeat the times of the hour that comes twice; agentclock would"


def _check_rule(times: AwsTimes) -> None:
    if times.expression.startswith("at("):
        raise Inexpressible("run_at", "a rule has no single occurrences; a Scheduler entry has (without --rule)")
    if times.start or times.end:
        field = "start_at" if times.start else "end_at"
        raise Inexpressible(field, "a rule has no bounds; a Scheduler entry has (without --rule)")
    if times.expression.startswith("cron(") and times.zone != "UTC":
        raise Inexpressible("timezone", f"a rule knows no {times.zone}, only UTC; a Scheduler entry does")


# one schedule


def _destination(schedule: Schedule, options: Eventbridge) -> Resources:
    properties = {
        "ConnectionArn": {"Fn::GetAtt": ["Connection", "Arn"]},
        "Description": f"Triggers {_plain(schedule.name)} in agentclock"[:512],
        "HttpMethod": "POST",
        "InvocationEndpoint": trigger_url(options.base_url, schedule),
    }
    return {"Type": "AWS::Events::ApiDestination", "Properties": properties}


def _rule(schedule: Schedule, name: str, clock: Resources, *, key: str, due: str) -> Resources:
    # The clock is precise to a minute, and each of the two steps may try as long as an event lives.
    latest = 2 * _event_age(schedule) + 60
    body = f'{{"fire_at": <due>, "reason": "EventBridge", "max_age_seconds": {latest}}}'
    target = {
        "Id": "trigger",
        "Arn": {"Fn::GetAtt": [f"{name}Destination", "Arn"]},
        "RoleArn": {"Fn::GetAtt": ["InvokeRole", "Arn"]},
        "HttpParameters": {"HeaderParameters": {"Idempotency-Key": key}},
        "InputTransformer": {"InputPathsMap": {"due": due}, "InputTemplate": body},
        "RetryPolicy": _retries(schedule),
        "DeadLetterConfig": {"Arn": {"Fn::GetAtt": ["DeadLetters", "Arn"]}},
    }
    properties = {"Description": f"{_plain(schedule.name)} is due"[:512], **clock, "Targets": [target]}
    return {"Type": "AWS::Events::Rule", "Properties": properties}


def _timer(schedule: Schedule, times: AwsTimes, active: bool) -> Resources:
    # Everything that tells occurrences apart, and nothing that tells retries apart.
    detail = {
        "schedule_id": schedule.id,
        "fire_at": _SCHEDULED_TIME,
        "key": f"eventbridge/{schedule.id}/{_SCHEDULED_TIME}",
    }
    properties = {
        "Description": f"When {_plain(schedule.name)} is due"[:512],
        "ScheduleExpression": times.expression,
        "ScheduleExpressionTimezone": times.zone,
        **({"StartDate": times.start} if times.start else {}),
        **({"EndDate": times.end} if times.end else {}),
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "State": _state(active),
        "Target": {
            "Arn": {"Fn::GetAtt": ["Bus", "Arn"]},
            "RoleArn": {"Fn::GetAtt": ["SchedulerRole", "Arn"]},
            "EventBridgeParameters": {"Source": _SOURCE, "DetailType": _DETAIL_TYPE},
            "Input": json.dumps(detail),
            "RetryPolicy": _retries(schedule),
            "DeadLetterConfig": {"Arn": {"Fn::GetAtt": ["DeadLetters", "Arn"]}},
        },
    }
    return {"Type": "AWS::Scheduler::Schedule", "Properties": properties}


def _pattern(schedule: Schedule) -> Resources:
    return {"source": [_SOURCE], "detail-type": [_DETAIL_TYPE], "detail": {"schedule_id": [schedule.id]}}


def _retries(schedule: Schedule) -> Resources:
    return {"MaximumEventAgeInSeconds": _event_age(schedule), "MaximumRetryAttempts": _RETRIES}


def _event_age(schedule: Schedule) -> int:
    least, most = _EVENT_AGE
    return min(max(late_seconds(schedule), least), most)


def _state(active: bool) -> str:
    return "ENABLED" if active else "DISABLED"


def _plain(text: str) -> str:
    """What AWS takes in descriptions."""
    return re.sub(r"[^ -~]|[<>&\"']", "?", text)


# what all of them share


def _shared(options: Eventbridge) -> Resources:
    reference = options.secret if options.secret_key is None else f"{options.secret}:SecretString:{options.secret_key}"
    key = {"ApiKeyName": "Authorization", "ApiKeyValue": f"Bearer {{{{resolve:secretsmanager:{reference}}}}}"}
    connection = {"AuthorizationType": "API_KEY", "AuthParameters": {"ApiKeyAuthParameters": key}}
    queue = {"MessageRetentionPeriod": 14 * DAY_SECONDS, "SqsManagedSseEnabled": True}
    by_rules = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": {"Fn::GetAtt": ["DeadLetters", "Arn"]},
        "Condition": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
    }
    return {
        "Connection": {"Type": "AWS::Events::Connection", "Properties": connection},
        "DeadLetters": {
            "Type": "AWS::SQS::Queue",
            "DeletionPolicy": "Delete",
            "UpdateReplacePolicy": "Delete",
            "Properties": queue,
        },
        "DeadLettersPolicy": {
            "Type": "AWS::SQS::QueuePolicy",
            "Properties": {"Queues": [{"Ref": "DeadLetters"}], "PolicyDocument": _policy([by_rules])},
        },
    }


def _bus() -> Resources:
    return {"Type": "AWS::Events::EventBus", "Properties": {"Name": {"Ref": "AWS::StackName"}}}


def _scheduler_role() -> Resources:
    may = [
        {"Effect": "Allow", "Action": "events:PutEvents", "Resource": {"Fn::GetAtt": ["Bus", "Arn"]}},
        {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": {"Fn::GetAtt": ["DeadLetters", "Arn"]}},
    ]
    return _role("scheduler.amazonaws.com", "put-events", may)


def _invoke_role(parts: Sequence[HandedOver]) -> Resources:
    names = [f"{logical_name(part.schedule)}Destination" for part in parts]
    arns = [{"Fn::GetAtt": [name, "Arn"]} for name in names]
    may = [{"Effect": "Allow", "Action": "events:InvokeApiDestination", "Resource": arns}]
    return _role("events.amazonaws.com", "invoke-destinations", may)


def _role(service: str, name: str, statements: list[Resources]) -> Resources:
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
    }
    properties = {
        "AssumeRolePolicyDocument": _policy([trust]),
        "Policies": [{"PolicyName": name, "PolicyDocument": _policy(statements)}],
    }
    return {"Type": "AWS::IAM::Role", "Properties": properties}


def _policy(statements: list[Resources]) -> Resources:
    return {"Version": "2012-10-17", "Statement": statements}
