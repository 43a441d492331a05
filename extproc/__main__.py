"""``python -m extproc`` is the command ``extproc``. Floor 6."""

import sys

from extproc.cli import main

sys.exit(main())
