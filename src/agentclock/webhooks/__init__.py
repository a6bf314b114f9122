"""Notices out: signed messages to receivers, delivered until they arrive."""
