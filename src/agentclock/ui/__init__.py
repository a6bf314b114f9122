"""The dashboard: plain files for browsers, served as they are written. `add_dashboard` puts them on an app."""

from agentclock.ui.pages import Dashboard, add_dashboard

__all__ = ["Dashboard", "add_dashboard"]
