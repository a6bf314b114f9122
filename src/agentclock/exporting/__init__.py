"""Handing a schedule over to an outside clock: its timetable and the request that triggers it, in the words of
Kubernetes (a CronJob) and of AWS (EventBridge). Pure: nothing is read, called or written here."""

from agentclock.exporting.cloudformation import MOST_SCHEDULES, Eventbridge, entry, template
from agentclock.exporting.handover import HandedOver, Inexpressible, fires_by_itself, has_timetable
from agentclock.exporting.kubernetes import CURL_IMAGE, Kubernetes, manifest
from agentclock.exporting.yaml_text import to_yaml

__all__ = [
    "CURL_IMAGE",
    "MOST_SCHEDULES",
    "Eventbridge",
    "HandedOver",
    "Inexpressible",
    "Kubernetes",
    "entry",
    "fires_by_itself",
    "has_timetable",
    "manifest",
    "template",
    "to_yaml",
]
