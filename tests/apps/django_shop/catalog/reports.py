"""Imported by the first request that needs it."""

REPORT = "reports-0"
