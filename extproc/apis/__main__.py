"""``python -m extproc.apis``: prints the table; with the name of a page, puts it there between its markers."""

from __future__ import annotations

import sys
from pathlib import Path

from extproc.apis.table import markdown, replaced


def main(arguments: list[str]) -> None:
    """Prints, or writes the page that ``arguments`` name."""
    if not arguments:
        print(markdown())
        return
    page = Path(arguments[0])
    page.write_text(replaced(page.read_text()))


if __name__ == "__main__":
    main(sys.argv[1:])
