"""``python -m onsave``."""

import sys

from onsave.cli import main

sys.exit(main())
