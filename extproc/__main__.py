"""``python -m extproc`` is the command ``extproc``. Floor 6."""

import sys

from extproc.cli.main import main

sys.exit(main())
