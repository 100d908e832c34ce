"""What differs between operating systems: the same functions in ``posix`` and ``windows``."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from onsave.session.platform import windows as here
else:
    from onsave.session.platform import posix as here

__all__ = ["here"]
