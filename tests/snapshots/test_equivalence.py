"""Real apps, each of their modules edited in turn: a restart from a snapshot and a cold one agree.

Two sessions run two copies of one app, and differ in one setting. After each edit both tell
all that can be seen of the process that answers. Every third module or so; all of them where
ONSAVE_EQUIVALENCE is "all".
"""

from __future__ import annotations

import difflib
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import SAMPLES, Project, Sample, Session, Token, server, until

from .standing import DESCRIBE

if not Path("/proc/self").exists():
    pytest.skip("snapshots are for Linux", allow_module_level=True)

#: Stands in the leaf module: the process says what it is like when it is sent a signal.
PROBE = f"""
{DESCRIBE.replace("print(", "_written = (").replace(", flush=True)", "); _write(_written)")}
def _write(text):
    path = _os.environ["PROBE"] + "." + str(_os.getpid())
    with open(path + "~", "w") as file:
        file.write(text)
    _os.rename(path + "~", path)
def _open():
    # Requests under way come and go.
    import socket
    found = []
    for number in _os.listdir("/proc/self/fd"):
        try:
            name = _os.readlink("/proc/self/fd/" + number)
        except OSError:
            continue
        if name.startswith("socket:"):
            with socket.socket(fileno=_os.dup(int(number))) as sock:
                listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                if sock.family != socket.AF_UNIX and not listens: continue
                name = "socket", int(sock.family), sock.getsockname()
        # A request that ends has a selector of its own; logs and heartbeats have names by chance.
        if int(number) < 100 and "anon_inode" not in name and "/tmp/" not in name:
            found.append(str(name).partition(":[")[0])
    return sorted(found)
def _probe(*_):
    import types
    code = {{}}
    for name, module in list(_sys.modules.items()):
        path = getattr(module, "__file__", None) or ""
        if path.startswith(_os.environ["FOLDER"]):
            code[name] = sorted(
                (key, value.__code__.co_code.hex(), repr(value.__code__.co_consts))
                for key, value in vars(module).items() if isinstance(value, types.FunctionType)
                and value.__module__ == name
            )
            code[name + " constants"] = sorted(
                (key, repr(value)) for key, value in vars(module).items()
                if type(value) in (int, str, float, tuple, bool)
            )
    describe(code=code, open=_open(), locale=__import__("locale").setlocale(6))
_signal.signal(_signal.SIGUSR2, _probe)
"""
#: Libraries with threads and random numbers of their own, in use while the app is imported.
SCIENCE = {
    "app.py": server("from shop import prices, report", prices="prices.PRICES + report.TEXT"),
    "shop/__init__.py": "",
    "shop/frames.py": "import pandas, polars\n"
    "FRAME = pandas.DataFrame({'price': range(50_000)})\n"
    "SUM = polars.from_dict({'n': list(range(50_000))}).select(polars.col('n').sum()).item()\n",
    "shop/model.py": "import numpy\nfrom . import frames\n"
    "MATRIX = numpy.random.default_rng(3).random((300, 300))\n"
    "TRACE = float(numpy.linalg.inv(MATRIX @ MATRIX).trace())\n",
    "shop/prices.py": 'from . import model\nPRICES = "prices-0"\n',
    "shop/report.py": "from . import frames, model, prices\n"
    "TEXT = ' %d %d %.3f' % (frames.FRAME.price.sum(), frames.SUM, model.TRACE)\n",
}
SCIENTIFIC = Sample(
    name="science", folder="", command=("{python}", "app.py", "{port}"),
    leaf=Token("shop/prices.py", "prices", "/prices"), main=Token("", "", ""),
    unused="", lazy=Token("", "", ""),
)  # fmt: skip


def project_of(sample: Sample, folder: Path) -> Project:
    if sample is not SCIENTIFIC:
        return Project.of_sample(sample, folder)
    folder.mkdir()
    project = Project(folder)
    for name, text in SCIENCE.items():
        project.write(name, text)
    return project


def same_as(text: str, session: Session) -> Any:
    """Without what differs between any two starts: folders, ports, addresses, counted threads."""
    folder = str(session.project.path)
    text = text.replace(json.dumps(folder)[1:-1], "{folder}").replace(folder, "{folder}")
    text = re.sub(rf"\b{session.port}\b", "{port}", re.sub(r"at 0x[0-9a-f]+", "at 0x", text))
    found = json.loads(text)
    threads = {re.sub(r"-\d+", "", name) for name in found["threads"]}
    found["threads"] = sorted(name for name in threads if "process_request" not in name)
    found["meta"] = [name for name in found["meta"] if name != "Served"]
    found["environ"].pop("PROBE")
    del found["fds"]  # see "open"
    # A function of sysconfig's imports it when it is first called: earlier, where other libraries
    # have been imported ahead.
    found["modules"].sort(key=lambda name: name.startswith("_sysconfigdata"))
    if "django" in found["modules"]:
        # Its system checks are a set of functions, and import in the order of their addresses.
        found["modules"].sort()
    return found


def described(session: Session, where: str) -> Any:
    """What the process that answers says of itself."""
    pid = session.pid()
    path = Path(f"{where}.{pid}")
    os.kill(pid, signal.SIGUSR2)
    until(path.exists, "it has described itself")
    text = path.read_text()
    path.unlink()
    return same_as(text, session)


def differences(one: Any, other: Any) -> list[str]:
    found = []
    for key in one:
        if one[key] != other[key]:
            texts = [json.dumps(each[key], indent=0).splitlines() for each in (one, other)]
            lines = difflib.unified_diff(*texts, "cold", "resumed", n=2)
            found.append("\n".join([key, *lines]))
    return found


@pytest.mark.parametrize("setting", ["true", '"libraries"'])
@pytest.mark.parametrize("name", ["flask", "django", "fastapi", "gunicorn", "science"])
def test_each_module_of_each_sample(
    start: Callable[..., Session],
    snapshots: Callable[..., Any],
    tmp_path: Path,
    name: str,
    setting: str,
) -> None:
    sample = SCIENTIFIC if name == "science" else SAMPLES[name]
    sessions: dict[str, Session] = {}
    for which in ("false", setting):
        folder = project_of(sample, tmp_path / which.strip('"'))
        folder.write("onsave.toml", f"snapshots = {which}\n")
        folder.write(sample.leaf.file, folder.read(sample.leaf.file) + PROBE)
        env = {"PROBE": str(folder / "probe"), "FOLDER": str(folder.path)}
        env["PYTHONHASHSEED"] = "0"  # else libraries import in the order of sets
        sessions[which] = start(folder, sample=sample, env=env)
    cold, resumed = sessions["false"], sessions[setting]
    files = [
        path
        for path, kind, *_ in cold.request("files")["files"]
        if kind == "module" and path.endswith(".py")
    ]
    assert len(files) > 3
    step = 1 if os.environ.get("ONSAVE_EQUIVALENCE") == "all" else max(len(files) // 3, 1)
    for path in sorted(files)[::step]:
        edited = Path(path).relative_to(cold.project.path)
        snapshots(resumed, lambda s: s["ready"])
        for session in (cold, resumed):
            text = session.project.read(str(edited))
            session.project.write(str(edited), text + f"\nMORE_{len(text)} = {len(text)}\n")
            run = session.status["run"]
            session.save(str(edited))
            session.until_state("ready", after=run)
            session.eventually(sample.leaf)
            session.settle()
        one, other = (described(s, str(s.project / "probe")) for s in (cold, resumed))
        assert not differences(one, other), f"{edited}\n{differences(one, other)}"
    least = 0 if sample.workers > 1 else len(files) // step // 2
    assert resumed.stderr.count("from a snapshot") >= least
