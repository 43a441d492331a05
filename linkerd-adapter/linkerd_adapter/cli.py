"""The command ``linkerd-adapter``: arguments in, exit status out. May import floors 0 to 4 of ``extproc``.

Exit statuses as of ``extproc``: 0 all is well, 1 something is wrong with what was looked at, 2 a command or policy file
that can't be used. What machines read goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from extproc.errors import PolicyProblems, SetupError
from linkerd_adapter.arguments import parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    arguments = parser(COMMANDS).parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except PolicyProblems as problems:
        print("\n".join(map(str, problems.problems)), file=sys.stderr)
        return 2
    except SetupError as error:
        print(f"linkerd-adapter: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1


def _lint(arguments: argparse.Namespace) -> int:
    from linkerd_adapter.lint.command import run

    return run(arguments.file, arguments.json)


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "lint": _lint,
}
