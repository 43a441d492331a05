"""Runs one command of a command line; errors become messages on stderr and exit statuses.

Exit statuses: 0 success; 1 a problem was found, or the machine does not allow the command (``SetupError``); 2 an
invalid command line or policy file; 130 Ctrl-C. What machines read goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from extproc.errors import PolicyProblems, SetupError, problem_counts


def run_command(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    """Parses ``argv`` (None: the process's own) and runs the command chosen; returns the exit status.

    Without a word the help is printed.
    """
    words = sys.argv[1:] if argv is None else argv
    if not words and parser.get_default("run") is None:
        parser.print_help()
        return 0
    arguments = parser.parse_args(words)
    try:
        return int(arguments.run(arguments))
    except PolicyProblems as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        print(problem_counts(error.problems), file=sys.stderr)
        return 2
    except SetupError as error:
        for line in str(error).splitlines():
            print(f"{parser.prog}: {line}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        return 130
