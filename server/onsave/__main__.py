"""``python -m onsave``: the same as ``onsave``."""

import sys

from onsave.cli import main

sys.exit(main())
