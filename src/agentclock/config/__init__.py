"""Settings: one frozen object, and what it is made of."""

from agentclock.config.entries import LogFormat, TargetEntry, TargetKind, WebhookEntry, WebhookFormat
from agentclock.config.settings import Settings
from agentclock.config.sources import ENV_PREFIX

__all__ = ["ENV_PREFIX", "LogFormat", "Settings", "TargetEntry", "TargetKind", "WebhookEntry", "WebhookFormat"]
