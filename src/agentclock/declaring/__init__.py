"""Schedules that are declared in files: what such a file may say, read with places, checked, and written."""
