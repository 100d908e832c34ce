"""Processes to be patched: the agent's real hooks and its real patch, told what to do.

Runs in any interpreter from 3.9 on, without any package: ``python host.py SOCKET``. It listens
there and forks a child for each connection, which is then an app of its own: a fresh interpreter
in milliseconds. What a session would say over the control socket comes over the connection as JSON,
one command a line, and is handled on another thread, as by the agent, while the main thread waits.
See tests/patch/patchable.py for the other side. It ends with its standard input.

Commands:
    {"do": "begin", "folder": …}             the app's folder; the agent's hooks are installed
    {"do": "start", "import": "app"}         import it, then say ready; "asked": what is asked later
    {"do": "run", "code": …}                 exec in the app's namespace
    {"do": "ask", "questions": [expr, …]}    → repr of each, or the exception's
    {"do": "patch", "message": …}            → patch.handle's reply
    {"do": "fingerprint", "modules": […]}    → all that these modules are, see fingerprint.py
    {"do": "ran", "path": …}                 → patch.which_ran's reply
"""

import json
import os
import resource
import select
import signal
import socket
import sys
import threading
import traceback

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "server"))

import fingerprint

from onsave_agent import imports, patch, paths, ran, reports

sys.dont_write_bytecode = True


class Silence:
    """In place of the channel: nobody listens."""

    def send(self, message, descriptor=None):
        pass


def answer(question, namespace):
    try:
        return repr(eval(question, namespace))
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


def handle(command, state):
    do = command["do"]
    if do == "begin":
        folder = os.path.realpath(command["folder"])
        sys.path[0] = folder
        sys.argv = [folder + "/host"]
        paths.configure({"roots": [folder], "ignore": [], "data": True, "edited": []})
        paths._library += (os.path.dirname(os.path.abspath(__file__)) + "/",)
        reports.begin(Silence())
        imports.begin()
        imports.install()
        return "begun"
    if do == "start":
        __import__(command["import"])
        state["app"] = vars(sys.modules[command.get("asked") or command["import"]])
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
    if do == "fingerprint":
        modules = [sys.modules[name] for name in command["modules"]]
        return {module.__name__: fingerprint.of_module(module) for module in modules}
    if do == "ran":
        return patch.which_ran(command["message"])
    raise ValueError(do)


def serve(connection):
    state = {"app": {}}
    with connection.makefile("rw", encoding="utf-8") as stream:
        for line in stream:
            try:
                reply = {"reply": handle(json.loads(line), state)}
            except BaseException:
                reply = {"error": traceback.format_exc()}
            stream.write(json.dumps(reply) + "\n")
            stream.flush()


def main():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(sys.argv[1])
        listener.listen(64)
        print("listening", flush=True)
        while True:
            readable = select.select([listener, sys.stdin], [], [])[0]
            if sys.stdin in readable:
                return
            connection = listener.accept()[0]
            if os.fork() == 0:
                # A random program may be one that never ends.
                resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
                resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
                listener.close()
                try:
                    serve(connection)
                finally:
                    os._exit(0)
            connection.close()


if __name__ == "__main__":
    main()
