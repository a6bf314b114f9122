"""Notices out: signed messages to receivers, delivered until they arrive.

For receivers: `verify` checks a message that came in and answers what it says.
"""

from agentclock.webhooks.signing import InvalidMessage, verify

__all__ = ["InvalidMessage", "verify"]
