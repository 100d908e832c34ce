"""Nobody imports this."""

UNUSED = "unused-0"
