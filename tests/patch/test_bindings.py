"""Names that a patch binds or unbinds at the top of a module: imports, functions; and who minds."""

from __future__ import annotations

import pytest

#: what → (files, file that is edited, (old, new) texts, question whose answer has to change)
PATCHED = {
    "an import of a library, and its use": (
        {"app": "def f(): return 1"}, "app",
        ("def f(): return 1", "import json\ndef f(): return json.dumps(1)"), "f()"),
    "an import that is not needed any more": (
        {"base": "import json", "app": "import base\nimport json\ndef f(): return json.dumps(1)",
         "start": "import base, app"}, "app",
        ("import json\ndef f(): return json.dumps(1)", "def f(): return 2"),
        "(f(), 'json' in globals())"),
    "an import of a library that only defines things": (
        {"app": "import wave\ndef f(): return wave.__name__", "start": "import app"}, "app",
        ("import wave\ndef f(): return wave.__name__", "def f(): return 2"),
        "(f(), 'wave' in globals())"),
    "one name less from a module": (
        {"app": "from json import dumps, loads\ndef f(): return loads(dumps(1))",
         "start": "import app"}, "app",
        ("dumps, loads\ndef f(): return loads(dumps(1))", "dumps\ndef f(): return dumps(1)"),
        "(f(), 'loads' in globals())"),
    "another name from a module": (
        {"app": "from json import dumps, loads\ndef f(): return dumps(1)", "start": "import app"},
        "app", ("dumps, loads\ndef f(): return dumps(1)",
                "JSONEncoder, dumps\ndef f(): return JSONEncoder().encode([1])"), "f()"),
    "one more name from a module of the project's": (
        {"models": "class A: pass\ndef b(): return 'b'\n",
         "app": "from models import A\ndef f(): return A.__name__", "start": "import app"}, "app",
        ("import A\ndef f(): return A.__name__", "import A, b\ndef f(): return b()"), "f()"),
    "a module of the project's that was there before": (
        {"models": "class A: pass\ndef b(): return 'b'\n", "app": "def f(): return 1",
         "start": "import models, app"}, "app",
        ("def f(): return 1", "import models\ndef f(): return models.b()"), "f()"),
    "a module in a package, by a relative name": (
        {"shop/__init__": "", "shop/models": "class A: pass\nclass B(A): pass\n",
         "shop/views": "from .models import A\ndef f(): return A.__name__",
         "app": "from shop.views import f"}, "shop/views",
        ("import A\ndef f(): return A.__name__", "import A, B\ndef f(): return B.__name__"), "f()"),
    "what is for type checkers": (
        {"app": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import nothing\n"
                "def f(): return 1"}, "app",
        ("    import nothing\ndef f(): return 1",
         "    import nothing\n    from nothing import x\ndef f(): return 2"), "f()"),
    "what is for type checkers, from now on": (
        {"base": "import typing", "app": "import base\ndef f(): return 1"}, "app",
        ("def f(): return 1",
         "import typing as t\nif t.TYPE_CHECKING:\n    import nothing\ndef f(): return 2"), "f()"),
    "a function that is not needed any more": (
        {"app": "def g(x): return [lambda: x]\ndef f(): return g(1)[0]()", "start": "import app"},
        "app", ("def g(x): return [lambda: x]\ndef f(): return g(1)[0]()", "def f(): return 2"),
        "(f(), 'g' in globals())"),
    "functions in another order, one of them another": (
        {"app": "def g(): return 1\ndef h(): return 2\nclass A:\n    def f(self): return g()\n"
                "    def k(self): return h()\ndef f(): return A().f(), A().k()"}, "app",
        ("def g(): return 1\ndef h(): return 2\nclass A:\n    def f(self): return g()\n"
         "    def k(self): return h()\n",
         "def h(): return 3\ndef g(): return 1\nclass A:\n    def k(self): return h()\n"
         "    def f(self): return g()\n"), "f()"),
    "documentation": (
        {"app": "'of a module'\nclass A:\n    'of\\n    a class'\n    x = 1\n"
                "class B:\n    pass\nclass C:\n    'of C'\n", "start": "import app"}, "app",
        ("'of a module'\nclass A:\n    'of\\n    a class'\n    x = 1\n"
         "class B:\n    pass\nclass C:\n    'of C'\n",
         "'of this\\n    module'\nclass A:\n    'of\\n    this class'\n    x = 1\n"
         "class B:\n    'of B'\n    pass\nclass C:\n    pass\n"),
        "[x.__doc__ for x in (__import__('app'), A, B, C)]"),
    "a function with another name": (
        {"app": "def g(): return 1\ndef f(): return g()", "start": "import app"}, "app",
        ("def g(): return 1\ndef f(): return g()", "def h(): return 2\ndef f(): return h()"),
        "(f(), 'g' in globals())"),
    "a name that others import from elsewhere": (
        {"app": "import other\nfrom json import dumps, loads\ndef f(): return loads('1')",
         "other": "from json import loads\ndef g(): return loads('1')", "start": "import app"},
        "app", ("dumps, loads\ndef f(): return loads('1')", "dumps\ndef f(): return dumps(2)"),
        "(f(), other.g())"),
    "a name that is looked for in what has not run": (
        {"app": "import other\nfrom json import dumps, loads\ndef f(): return loads('1')",
         "other": "def g(): import app; return getattr(app, 'loads', None)", "start": "import app"},
        "app", ("dumps, loads\ndef f(): return loads('1')", "dumps\ndef f(): return dumps(2)"),
        "f()"),
}  # fmt: skip


@pytest.mark.parametrize("what", PATCHED)
def test_patched(what, run):
    files, edited, (old, new), question = PATCHED[what]
    sources = {f"{name}.py": text for name, text in files.items()}
    module = edited.replace("/", ".")
    main = "start" if "start" in files else "app"
    app = run(sources, start=False)
    app.start(main)
    ask = f"eval({question!r}, vars(__import__('sys').modules[{module!r}]))"
    before = app.ask(ask)
    edited_source = sources[f"{edited}.py"].replace(old, new)
    assert edited_source != sources[f"{edited}.py"]
    assert app.save({f"{edited}.py": edited_source}) == "patched"
    after = app.ask(ask)
    assert after != before
    fresh = run({**sources, f"{edited}.py": edited_source}, start=False)
    fresh.start(main)
    assert fresh.ask(ask) == after
    assert fresh.fingerprint(module) == app.fingerprint(module)


#: what → (files, (old, new) texts of app.py, why)
REFUSED = {
    "a library that only this import loads": (
        {"app": "import wsgiref.util\nx = 1", "start": "import app"},
        ("import wsgiref.util\n", ""),
        "import of wsgiref.util was removed, and who else imports it is not known"),
    "a library that does something": (
        {"app": "import this\nx = 1", "start": "import app"}, ("import this\n", ""),
        "import of this was removed, and who else imports it is not known"),
    "a module of the project's that only this import loads": (
        {"app": "import models\nx = 1", "models": "", "start": "import app"},
        ("import models\n", ""),
        "import of models was removed, and who else imports it is not known"),
    "a name that another module has taken": (
        {"app": "from json import dumps, loads\nx = 1", "other": "from app import loads",
         "start": "import app, other"}, ("dumps, loads", "dumps"),
        "import of loads was removed, and other looks for that name"),
    "a name that another module has taken as an attribute": (
        {"app": "from json import dumps, loads\nx = 1", "other": "import app as a\nY = a.loads",
         "start": "import app, other"}, ("dumps, loads", "dumps"),
        "import of loads was removed, and other looks for that name"),
    "a name that a string names": (
        {"app": "from json import dumps, loads\nx = 1", "other": "LOADERS = ['app.loads']",
         "start": "import app, other"}, ("dumps, loads", "dumps"),
        "import of loads was removed, and other looks for that name"),
    "all names taken": (
        {"app": "from json import dumps, loads\nx = 1", "other": "from app import *",
         "start": "import app, other"}, ("dumps, loads", "dumps"),
        "import of loads was removed, and other looks for that name"),
    "a namespace looked through": (
        {"app": "from json import dumps, loads\nx = 1", "other": "import app\nY = dir(app)",
         "start": "import app, other"}, ("dumps, loads", "dumps"),
        "import of loads was removed, and other looks through namespaces"),
    "a module that no module of the project's has imported": (
        {"app": "from json import dumps, loads\nx = 1"}, ("dumps, loads", "dumps"),
        "import of loads was removed, and app was not imported by the project itself"),
    "what the name is bound to by now": (
        {"app": "from json import dumps, loads\ndef f(): pass",
         "other": "import app\napp.loads = 1",
         "start": "import app, other"}, ("dumps, loads", "dumps"),
        "import of loads was removed, which is another thing by now"),
    "a function that a registry holds": (
        {"app": "def f(): pass\nx = 1", "other": "import app\nY = [app.f]",
         "start": "import app, other"}, ("def f(): pass\n", ""),
        "f was removed, and somebody holds it"),
    "a function that its own module uses as an attribute": (
        {"app": "import sys\nME = sys.modules[__name__]\ndef f(): pass\ndef g(): return ME.f\n",
         "start": "import app; app.g()"}, ("def f(): pass\n", ""),
        "f was removed, and app looks for that name"),
    "a function that something holds": (
        {"app": "def f(): pass\nHELD = []\ndef hold(): HELD.append(f)\nhold()\n"
                "def hold(): return 1", "start": "import app"},
        ("def f(): pass\nHELD = []\ndef hold(): HELD.append(f)\n",
         "HELD = []\ndef hold(): HELD.append(1)\n"), "hold ran at start-up"),
    "another order where somebody looks": (
        {"app": "def f(): pass\ndef g(): pass\nx = list(globals())"},
        ("def f(): pass\ndef g(): pass", "def g(): pass\ndef f(): pass"),
        "the order of functions in the module changed, and app may look through namespaces"),
    "another order in a class that is looked through": (
        {"app": "class B:\n    def __init_subclass__(cls): pass\nclass A(B):\n"
                "    def f(self): pass\n    def g(self): pass\n"},
        ("    def f(self): pass\n    def g(self): pass\n",
         "    def g(self): pass\n    def f(self): pass\n"),
        "the order of functions in A changed, and its class is looked through by "
        "__init_subclass__"),
    "another order in a class with a metaclass": (
        {"app": "class M(type): pass\nclass B(metaclass=M): pass\nclass A(B):\n"
                "    def f(self): pass\n    def g(self): pass\n"},
        ("    def f(self): pass\n    def g(self): pass\n",
         "    def g(self): pass\n    def f(self): pass\n"),
        "the order of functions in A changed, and its class has a metaclass"),
    "documentation that is shown": (
        {"app": "'a module'\nimport argparse\nP = argparse.ArgumentParser(description=__doc__)"},
        ("a module", "this module"), "module docstring changed, and app reads docstrings"),
    "documentation that somebody keeps": (
        {"app": "class A:\n    'a class'\n", "other": "import app, functools\n"
         "@functools.wraps(app.A)\ndef view(): pass", "start": "import app, other"},
        ("a class", "this class"), "docstring of class A changed, and somebody keeps it"),
    "documentation of a class that a library knows": (
        {"app": "import json\nclass A(json.JSONEncoder):\n    'a class'\n"},
        ("a class", "this class"),
        "docstring of class A changed, and json.encoder may have read it"),
    "a new name where all names were taken": (
        {"app": "x = 1", "other": "from app import *", "start": "import app, other"},
        ("x = 1", "x = 1\ndef f(): pass"), "f was added, and other looks for that name"),
    "a new import where all names were taken": (
        {"app": "x = 1", "other": "from app import *", "start": "import app, other"},
        ("x = 1", "import json\nx = 1"),
        "import of json was added, and other looks for that name"),
    "a new import that another module looks for": (
        {"app": "x = 1", "other": "import app\nY = getattr(app, 'json', None)",
         "start": "import app, other"}, ("x = 1", "import json\nx = 1"),
        "import of json was added, and other looks for that name"),
    "a module of the project's that came later": (
        {"app": "x = 1", "other": "class A: pass", "start": "import app, other"},
        ("x = 1", "from other import A\nx = 1"),
        "import of the project's own other was added"),
    "a module of the project's that imports this one": (
        {"app": "x = 1", "other": "import app\nclass A: pass", "start": "import other"},
        ("x = 1", "from other import A\nx = 1"),
        "import of the project's own other was added"),
    "one more name of a module that imports this one": (
        {"app": "import other\nx = 1", "other": "import app\nclass A: pass",
         "start": "import other"}, ("import other", "import other\nfrom other import A"),
        "import of the project's own other was added"),
    "one more name that is no constant": (
        {"app": "from other import A\nx = 1", "other": "class A: pass\ncount = 1",
         "start": "import app"}, ("import A", "import A, count"),
        "import of count was added, which may have been another thing"),
    "what is for type checkers, and they run": (
        {"app": "TYPE_CHECKING = 1\nif TYPE_CHECKING:\n    import json", "start": "import app"},
        ("import json", "import base64"), "code under TYPE_CHECKING changed, which is not False"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what, run):
    files, (old, new), reason = REFUSED[what]
    sources = {f"{name}.py": text for name, text in files.items()}
    app = run(sources, start=False)
    app.start("start" if "start" in files else "app")
    before = app.fingerprint("app")
    edited = sources["app.py"].replace(old, new)
    assert edited != sources["app.py"]
    assert app.save({"app.py": edited}) == reason
    assert app.fingerprint("app") == before  # nothing was touched


def test_a_framework_may_look_for_a_name_in_what_it_imports(run):
    """As flask does, for create_app."""
    framework = """
        def load():
            import importlib
            app = importlib.import_module("app")
            return getattr(app, "create_app", None)
        made = load()
    """
    source = "x = 1\ndef f(): return x\n"
    files = {"app.py": source, "site-packages/framework.py": framework}
    files["start.py"] = "import sys\nsys.path.append(sys.path[0] + '/site-packages')\n"
    files["start.py"] += "import framework"
    app = run(files, start=False)
    app.start("start")
    more = source + "def %s(): return 1\n"
    reason = "create_app was added, and framework may look for that name"
    assert app.save({"app.py": more % "create_app"}) == reason
    assert app.save({"app.py": more % "other"}) == "patched"


def test_a_removal_is_undone_by_a_patch(run):
    source = "from json import dumps, loads\ndef g(): return 1\ndef f(): return g(), loads('1')\n"
    less = "from json import dumps\ndef f(): return dumps(2)\n"
    app = run({"app.py": source, "start.py": "import app"}, start=False)
    app.start("start")
    for _ in range(3):
        assert app.save({"app.py": less}) == "patched"
        assert app.ask("app.f(), hasattr(app, 'loads'), hasattr(app, 'g')") == "('2', False, False)"
        assert app.save({"app.py": source}) == "patched"
        assert app.ask("app.f()") == "(1, 1)"


def test_a_call_under_way_in_a_removed_function_is_told(run):
    source = "def g():\n    yield 1\n    yield 2\ndef f(): return g()\n"
    app = run({"app.py": source, "start.py": "import app"}, start=False)
    app.start("start")
    app.run("made = app.f(); next(made)")
    reply = app.save_and_tell({"app.py": "def f(): return 1\n"})
    if reply["type"] == "refused":  # From 3.11 on the generator holds the function.
        assert reply["reason"] == "g was removed, and somebody holds it"
    else:
        assert [place[2] for place in reply["live"]] == ["g"]
