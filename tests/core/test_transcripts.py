"""Plays every case under transcripts/. ONSAVE_UPDATE=1 writes what was done into the files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from transcript import Case, cases, play

FILES = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))
CASES = [case for file in FILES for case in cases(file)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.file.stem}: {case.name}")
def test_transcript(case: Case) -> None:
    played = play(case)
    if os.environ.get("ONSAVE_UPDATE"):
        update(case, played)
    else:
        assert as_text(played) == as_text(case.steps), f"{case.file}:{case.line}"


def as_text(steps: list[tuple[str, list[str]]]) -> str:
    return "\n".join(
        line for event, done in steps for line in (f"> {event}", *(f"< {said}" for said in done))
    )


def update(case: Case, played: list[tuple[str, list[str]]]) -> None:
    lines = case.file.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.strip() == f"[case {case.name}]") + 1
    end = next((i for i in range(at, len(lines)) if lines[i].startswith("[case ")), len(lines))
    kept = [line for line in lines[at:end] if line.strip()[:1] in ("|", "#")]
    text = as_text(played).splitlines()
    case.file.write_text("\n".join([*lines[:at], *kept, *text, "", *lines[end:]]).rstrip() + "\n")


def test_there_are_cases() -> None:
    assert len(CASES) > 25
