"""What the editor can do (read from ``initialize``), and how its user wants it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.capabilities import get_capability

from onsave.lsp import from_proto
from onsave.lsp.saving import HABITS


@dataclass(frozen=True)
class Can:
    """What the client has said it can do; nothing, before it has said anything."""

    watch: bool = False  # register file watchers dynamically
    configuration: bool = False  # be asked for its configuration
    configuration_changes: bool = False  # register for changes of it dynamically
    progress: bool = False
    related_information: bool = False
    message_actions: bool = False
    show_document: bool = False
    refresh_lenses: bool = False
    run_in_terminal: bool = False
    tells_failures: bool = False  # by itself, from onsave/status


def can(params: types.InitializeParams) -> Can:
    capabilities = params.capabilities

    def has(name: str) -> bool:
        return bool(get_capability(capabilities, name, False))

    places: list[Any] = [params.initialization_options, capabilities.experimental]
    ours = [_section(place) for place in places]
    return Can(
        watch=has("workspace.did_change_watched_files.dynamic_registration"),
        configuration=has("workspace.configuration"),
        configuration_changes=has("workspace.did_change_configuration.dynamic_registration"),
        progress=has("window.work_done_progress"),
        related_information=has("text_document.publish_diagnostics.related_information"),
        message_actions=has("window.show_message.message_action_item"),
        show_document=has("window.show_document.support"),
        refresh_lenses=has("workspace.code_lens.refresh_support"),
        run_in_terminal=any(each.get("runInTerminal") is True for each in ours),
        tells_failures=any(each.get("tellsFailures") is True for each in ours),
    )


@dataclass(frozen=True)
class Settings:
    """How the user wants it.

    auto_save:    see ``saving``
    python:       what code lenses run programs with, "" to look for it
    interpreters: the same for particular workspace folders, by path
    """

    auto_save: str = "manual"
    python: str = ""
    interpreters: Mapping[str, str] = field(default_factory=dict)


def settings(raw: object, before: Settings) -> tuple[Settings, list[str]]:
    """The settings in ``raw``, an "onsave" section or an object that has one; and what is wrong
    with it, for people. What is missing or wrong stays as it was ``before``."""
    section = _section(raw) or (raw if isinstance(raw, dict) else {})
    problems = []
    auto_save = section.get("autoSave") or before.auto_save
    if auto_save not in HABITS:
        problems.append(f"onsave.autoSave is {auto_save!r}; it can be {', '.join(HABITS)}")
        auto_save = before.auto_save
    python = section.get("python")
    if python is not None and not isinstance(python, str):
        problems.append(f"onsave.python is {python!r}; it is to be the path of an interpreter")
        python = None
    interpreters = section.get("interpreters")
    if isinstance(interpreters, dict):  # of the VS Code extension, by folder URI
        found = {from_proto.path(uri): each for uri, each in interpreters.items()}
        folders = {path: each for path, each in found.items() if path and isinstance(each, str)}
    else:
        folders = dict(before.interpreters)
    return Settings(auto_save, before.python if python is None else python, folders), problems


def interpreter(settings: Settings, root: str) -> str:
    """What to run a program in ``root`` with: as set, else its environment's, else the PATH's."""
    set_ = settings.interpreters.get(root) or settings.python
    if set_:
        return set_
    program = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    for folder in (".venv", "venv"):
        found = Path(root) / folder / program
        if found.exists():
            return str(found)
    return "python" if shutil.which("python") else "python3"


def _section(value: object) -> dict[str, Any]:
    section = value.get("onsave") if isinstance(value, dict) else getattr(value, "onsave", None)
    if section is not None and not isinstance(section, dict):
        section = getattr(section, "_asdict", dict)()
    return section or {}
