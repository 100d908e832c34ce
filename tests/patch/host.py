"""A process to be patched: the agent's real hooks and its real patch, told what to do line by line.

Runs in any interpreter from 3.9 on, without any package. What a session would say over the control
socket comes over stdin as JSON, one command a line, and is handled on another thread, as by the
agent, while the main thread waits. See tests/patch/apps.py for the other side.

``python host.py FOLDER``; commands:
    {"do": "start", "import": "app"}         import it, then say ready
    {"do": "run", "code": …}                 exec in the app's namespace
    {"do": "ask", "questions": [expr, …]}    → repr of each, or the exception's
    {"do": "patch", "message": …}            → patch.handle's reply
    {"do": "ran", "path": …}                 → patch.which_ran's reply
"""

import json
import os
import sys
import threading
import traceback

FOLDER = os.path.realpath(sys.argv[1])
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "server"))

from onsave_agent import imports, patch, paths, ran, reports  # noqa: E402

sys.path[0] = FOLDER
sys.argv = [FOLDER + "/host"]
sys.dont_write_bytecode = True
out, sys.stdout = sys.stdout, sys.stderr


class Silence:
    """In place of the channel: nobody listens."""

    def send(self, message, descriptor=None):
        pass


def answer(question, namespace):
    try:
        return repr(eval(question, namespace))
    except BaseException as error:
        return "%s: %s" % (type(error).__name__, error)


def handle(command, state):
    do = command["do"]
    if do == "start":
        state["app"] = vars(__import__(command["import"]))
        ran.ready()
        return "ready"
    if do == "run":
        exec(command["code"], state["app"])
        return "done"
    if do == "ask":
        return [answer(question, state["app"]) for question in command["questions"]]
    if do == "patch":
        reply = []
        thread = threading.Thread(target=lambda: reply.append(patch.handle(command["message"])))
        thread.start()
        thread.join()
        return reply[0] if reply else None
    if do == "ran":
        return patch.which_ran(command["message"])
    raise ValueError(do)


def main():
    settings = {"roots": [FOLDER], "ignore": [], "data": True, "edited": []}
    paths.configure(settings)
    reports.begin(Silence())
    imports.install()
    state = {"app": {}}
    for line in sys.stdin:
        try:
            reply = {"reply": handle(json.loads(line), state)}
        except BaseException:
            reply = {"error": traceback.format_exc()}
        out.write(json.dumps(reply) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
