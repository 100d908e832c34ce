"""onsave: save a file, and the running Python app is up to date."""

__version__ = "0.1.0"
