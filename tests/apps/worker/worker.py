"""A long-running program that is no server: it works, and writes down how far it has come.

``python worker.py STATE_FILE``. It answers what is written into STATE_FILE's neighbour
``*.question``, and ends when there is a ``*.end``.
"""

import json
import os
import sys
import time
from pathlib import Path

import jobs


def main():
    state = Path(sys.argv[1])
    question = state.with_suffix(".question")
    done, answer = 0, ""
    while not state.with_suffix(".end").exists():
        done = jobs.counted(done)
        if question.exists():
            answer = jobs.answer(question.read_text())
        text = json.dumps({"pid": os.getpid(), "job": jobs.JOB, "done": done, "answer": answer})
        # By rename, so that whoever reads never sees half of it.
        draft = state.with_suffix(".draft")
        draft.write_text(text)
        draft.replace(state)
        time.sleep(0.05)


if __name__ == "__main__":
    main()
