"""``python -m linkerd_adapter.lint``: prints the page of rules; with the name of a file, writes it."""

from __future__ import annotations

import sys
from pathlib import Path

from linkerd_adapter.lint.page import markdown


def main(arguments: list[str]) -> None:
    """Prints, or writes the page that ``arguments`` name."""
    if arguments:
        Path(arguments[0]).write_text(markdown())
    else:
        print(markdown(), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
