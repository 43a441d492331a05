"""One command of a command line: its name, its examples, the options that several share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

Command = Callable[[argparse.Namespace], int]


def command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Command,
    text: str,
    epilog: str,
) -> argparse.ArgumentParser:
    """Adds a command: ``text`` is its line in the list, ``epilog`` its examples."""
    parser = commands.add_parser(
        name,
        help=text,
        description=text[:1].upper() + text[1:] + ".",
        epilog=dedent(epilog),
        formatter_class=Help,
    )
    parser.set_defaults(run=run)
    return parser


def policies(parser: argparse._ActionsContainer, *, required: bool = True) -> None:
    """Adds ``-f POLICY``. ``required``: not where the group that is given says so."""
    parser.add_argument(
        "-f",
        "--file",
        type=Path,
        action="append",
        required=required,
        metavar="POLICY",
        help="a policy file, or a directory of them; may be given more than once",
    )


class Help(argparse.RawDescriptionHelpFormatter):
    """Examples as they are written."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34, width=100)
