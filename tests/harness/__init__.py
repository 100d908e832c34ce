"""Drives the whole of onsave as a person would: real sessions, real apps, real clients.

    session = start("flask")         # the fixture of tests/conftest.py; ready when it returns
    leaf = session.sample.leaf       # a token in a module: tests/harness/samples.py
    verdict = session.bump(leaf)     # edits the file, tells of the save, awaits the verdict
    session.eventually(leaf)         # asks the app itself until it answers with the new token

Who is asked is always the app: its pid, and tokens that stand in its code.
"""

from .editor import Editor
from .little import server
from .load import Load
from .processes import DEADLINE, free_port, until
from .project import Project
from .samples import SAMPLES, Sample, Token
from .session import ONSAVE, Session, Verdict

__all__ = [
    "DEADLINE",
    "ONSAVE",
    "SAMPLES",
    "Editor",
    "Load",
    "Project",
    "Sample",
    "Session",
    "Token",
    "Verdict",
    "free_port",
    "server",
    "until",
]
