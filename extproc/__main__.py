"""``python -m extproc`` is the command ``extproc``."""

import sys

from extproc.cli.main import main

sys.exit(main())
