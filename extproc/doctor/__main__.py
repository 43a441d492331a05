"""``python -m extproc.doctor``: prints what it can find; given the name of a page, puts it there."""

from __future__ import annotations

import sys
from pathlib import Path

from extproc.doctor.rules import RULES
from extproc.lint.findings import replaced, table


def main(arguments: list[str]) -> None:
    """Prints, or writes the page that ``arguments`` name."""
    if not arguments:
        print(table(RULES))
        return
    page = Path(arguments[0])
    page.write_text(replaced(page.read_text(), table(RULES)))


if __name__ == "__main__":
    main(sys.argv[1:])
