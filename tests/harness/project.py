"""A copy of a sample app that a test may edit."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .samples import Sample, Token

APPS = Path(__file__).parent.parent / "apps"


class Project:
    """A folder with an app in it.

    Editing writes as most editors do, in place; ``rename=True`` as others do, by a new file that
    takes the old one's name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def copy(cls, folder: str, to: Path) -> Project:
        ignore = shutil.ignore_patterns("__pycache__", "db.sqlite3")
        shutil.copytree(APPS / folder, to, ignore=ignore)
        return cls(to.resolve())

    @classmethod
    def of_sample(cls, sample: Sample, to: Path) -> Project:
        project = cls.copy(sample.folder, to)
        if sample.prepare:
            command = [part.format(python=sys.executable) for part in sample.prepare]
            subprocess.run(command, cwd=project.path, check=True, stdin=subprocess.DEVNULL)
        return project

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def read(self, name: str) -> str:
        return (self.path / name).read_text(encoding="utf-8")

    def write(self, name: str, text: str, rename: bool = False) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if rename:
            draft = path.with_name(f".{path.name}.draft")
            draft.write_text(text, encoding="utf-8")
            os.replace(draft, path)
        else:
            path.write_text(text, encoding="utf-8")
        return path

    def replace(self, name: str, old: str, new: str) -> Path:
        text = self.read(name)
        assert old in text, f"{old!r} is not in {name}"
        return self.write(name, text.replace(old, new, 1))

    def token(self, token: Token) -> str:
        """The token as it stands in the file now."""
        found = re.search(rf"{token.name}-\d+", self.read(token.file))
        assert found, f"no {token.name}-… in {token.file}"
        return found.group()

    def bump(self, token: Token, rename: bool = False) -> str:
        """Count the token up, in the file; the new one."""
        old = self.token(token)
        new = f"{token.name}-{int(old.rpartition('-')[2]) + 1}"
        self.write(token.file, self.read(token.file).replace(old, new, 1), rename)
        return new
