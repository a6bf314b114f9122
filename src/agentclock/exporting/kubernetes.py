"""A schedule as a CronJob: Kubernetes keeps the time, a pod with curl triggers the schedule.

Pods of one Job share its name, and the name is the Idempotency-Key: however often a pod is made again, it is one run.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from agentclock.core.cron import Cron, CronKind
from agentclock.core.model import DAY_SECONDS, Instant, Schedule
from agentclock.core.zones import Zone
from agentclock.exporting.handover import (
    HandedOver,
    Inexpressible,
    fingerprint,
    late_seconds,
    remarks_on_policies,
    trigger_url,
    zone_changes,
)
from agentclock.exporting.kubernetes_cron import kubernetes_cron

CURL_IMAGE: Final = "curlimages/curl:8.16.0"

#: Kubernetes looks about every ten seconds; with less than this it may never start anything.
_LEAST_DEADLINE: Final = 60
#: Kubernetes documents that it gives up on more than 100 missed fires, so no more lie within the deadline.
_MOST_MISSED: Final = 90
#: All pods of one Job together. The request itself is answered at once.
_ACTIVE_SECONDS: Final = 900
_NAME_LENGTH: Final = 52
_IS_NAME: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
#: Any but root, who needs no entry in the image.
_UID: Final = 65_532

_SCRIPT: Final = """\
# Kubernetes ends the name of a CronJob's Job with the minute it was due, counted since 1970.
minute="${JOB_NAME##*-}" due=''
case "$minute" in
  [1-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9])
    late=$(($(date +%s) - minute * 60))
    # A name that somebody gave may only look like it.
    if [ "$late" -ge -60 ] && [ "$late" -le @LATEST@ ]; then due=", \\"fire_at\\": $((minute * 60))"; fi ;;
esac
# The token goes through a pipe: what stands on a command line can be read by others.
printf 'Authorization: Bearer %s\\n' "$AGENTCLOCK_TOKEN" |
  curl --silent --show-error --fail-with-body --connect-timeout 10 --max-time 30 \\
    --retry 4 --retry-all-errors --retry-max-time 150 \\
    --header @- --header "Idempotency-Key: $JOB_NAME" --header 'Content-Type: application/json' \\
    --data "{\\"reason\\": \\"Kubernetes CronJob @NAME@\\", \\"max_age_seconds\\": @LATEST@$due}" \\
    @URL@
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubernetes:
    """Where and with what the CronJobs run. `secret`, `secret_key`: where the bearer token stands in the cluster."""

    base_url: str
    namespace: str | None = None
    image: str = CURL_IMAGE
    secret: str = "agentclock"
    secret_key: str = "token"


def manifest(schedule: Schedule, options: Kubernetes, now: Instant, *, active: bool) -> HandedOver:
    """The CronJob, suspended unless `active`. Raises Inexpressible."""
    cron = _cron(schedule, now)
    expression = kubernetes_cron(cron)
    remarks = tuple(_remarks(schedule, cron, now))
    name = resource_name(schedule)
    labels = {"app.kubernetes.io/name": "agentclock-trigger", "app.kubernetes.io/managed-by": "agentclock"}
    deadline = _deadline(schedule, cron)
    content = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {
            "name": name,
            **({"namespace": options.namespace} if options.namespace else {}),
            "labels": labels,
            "annotations": _annotations(schedule, remarks),
        },
        "spec": {
            "schedule": expression,
            "timeZone": "Etc/UTC" if schedule.timezone == "UTC" else schedule.timezone,
            "suspend": not active,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": deadline,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {
                "metadata": {"labels": labels},
                "spec": {
                    "backoffLimit": 3,
                    "activeDeadlineSeconds": _ACTIVE_SECONDS,
                    "ttlSecondsAfterFinished": DAY_SECONDS,
                    "template": {"metadata": {"labels": labels}, "spec": _pod(schedule, options, name, deadline)},
                },
            },
        },
    }
    return HandedOver(schedule=schedule, content=content, remarks=remarks)


def resource_name(schedule: Schedule) -> str:
    """Always the same for a schedule, and its own: two CronJobs for one schedule would fire it twice."""
    name = schedule.name
    if _IS_NAME.fullmatch(name) and len(name) <= _NAME_LENGTH and schedule.user_id is None:
        return name
    suffix = fingerprint(schedule)
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[: _NAME_LENGTH - len(suffix) - 1].strip("-")
    return f"{slug or 'schedule'}-{suffix}"


def _cron(schedule: Schedule, now: Instant) -> Cron:
    if schedule.run_at is not None:
        raise Inexpressible("run_at", "a CronJob fires again and again; trigger it once by hand instead")
    if schedule.interval_seconds is not None:
        reason = "a CronJob has no intervals that count from a moment; give the schedule a cron_expr"
        raise Inexpressible("interval_seconds", reason)
    if not schedule.cron_expr:
        raise Inexpressible("cron_expr", "the schedule has no timetable: it is on demand")
    if schedule.end_at is not None:
        raise Inexpressible("end_at", "a CronJob has no end; delete it when the time has come")
    if schedule.start_at is not None and schedule.start_at > now:
        raise Inexpressible("start_at", "lies in the future, and a CronJob begins at once")
    if schedule.max_runs is not None:
        raise Inexpressible("max_runs", "a CronJob counts nothing")
    return Cron.parse(schedule.cron_expr)


def _remarks(schedule: Schedule, cron: Cron, now: Instant) -> Iterator[str]:
    yield from remarks_on_policies(schedule)
    if cron.kind is CronKind.FIXED and zone_changes(schedule, now):
        yield (
            "where clocks change, Kubernetes leaves out a time that does not exist and fires twice at one that comes "
            "twice; agentclock would fire once in either case"
        )


def _deadline(schedule: Schedule, cron: Cron) -> int:
    fires = cron.between(0, 1 << 40, Zone.load("UTC"), _MOST_MISSED + 1)
    seconds = late_seconds(schedule)
    if len(fires) > _MOST_MISSED:
        seconds = min(seconds, fires[-1] - fires[0])
    return max(seconds, _LEAST_DEADLINE)


def _annotations(schedule: Schedule, remarks: tuple[str, ...]) -> dict[str, str]:
    told = {
        "agentclock/schedule-id": schedule.id,
        "agentclock/schedule-name": schedule.name,
        "agentclock/cron-expr": schedule.cron_expr or "",
    }
    return told | ({"agentclock/differences": "; ".join(remarks)} if remarks else {})


def _pod(schedule: Schedule, options: Kubernetes, name: str, deadline: int) -> dict[str, Any]:
    token = {"secretKeyRef": {"name": options.secret, "key": options.secret_key}}
    label = {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/job-name']"}}
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _UID,
            "runAsGroup": _UID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "trigger",
                "image": options.image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["/bin/sh", "-euc", _script(schedule, options, name, deadline)],
                "env": [
                    {"name": "JOB_NAME", "valueFrom": label},
                    {"name": "AGENTCLOCK_TOKEN", "valueFrom": token},
                ],
                "resources": {
                    "requests": {"cpu": "10m", "memory": "16Mi"},
                    "limits": {"memory": "64Mi"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }


def _script(schedule: Schedule, options: Kubernetes, name: str, deadline: int) -> str:
    url = shlex.quote(trigger_url(options.base_url, schedule))
    # Longer than any Job of the CronJob can lie behind its time, so that all its pods ask for the same.
    latest = str(deadline + DAY_SECONDS)
    return _SCRIPT.replace("@LATEST@", latest).replace("@NAME@", name).replace("@URL@", url)
