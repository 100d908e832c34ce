"""A long-running program that is no server: it works, and writes down how far it has come.

``python worker.py STATE_FILE``
"""

import json
import os
import sys
import time
from pathlib import Path

import jobs


def main():
    state = Path(sys.argv[1])
    done = 0
    while True:
        done += 1
        text = json.dumps({"pid": os.getpid(), "job": jobs.JOB, "done": done})
        # By rename, so that whoever reads never sees half of it.
        draft = state.with_suffix(".draft")
        draft.write_text(text)
        draft.replace(state)
        time.sleep(0.05)


if __name__ == "__main__":
    main()
