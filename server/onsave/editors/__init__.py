"""What ``onsave editor NAME`` prints: for each editor, what a user of it would write.

In the texts, ``@ONSAVE@`` stands for the quoted path of the ``onsave`` command (JSON, Lua, TOML,
Emacs Lisp, Rust and Vim script agree on such strings), ``@ONSAVE_PATH@`` for the bare one.
"""

from __future__ import annotations

import json
from pathlib import Path

#: Editor → file beside this one.
FILES = {
    "neovim": "neovim.lua",
    "helix": "helix.toml",
    "emacs": "emacs.el",
    "vim": "vim.vim",
    "zed": "zed.txt",
    "sublime": "sublime.json",
    "pycharm": "pycharm.txt",
}


def text(editor: str, command: str) -> str:
    """The configuration for ``editor``, one of FILES, calling ``command``."""
    found = (Path(__file__).parent / FILES[editor]).read_text(encoding="utf-8")
    quoted = json.dumps(command, ensure_ascii=False)
    return found.replace("@ONSAVE@", quoted).replace("@ONSAVE_PATH@", command)
