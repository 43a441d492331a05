"""``python -m extproc.lint``: prints the rules; given the name of a page, puts them between its markers."""

from __future__ import annotations

import sys
from pathlib import Path

from extproc.lint.findings import replaced
from extproc.lint.linter import markdown


def main(arguments: list[str]) -> None:
    """Prints, or writes the page that ``arguments`` name."""
    if not arguments:
        print(markdown())
        return
    page = Path(arguments[0])
    page.write_text(replaced(page.read_text(), markdown()))


if __name__ == "__main__":
    main(sys.argv[1:])
