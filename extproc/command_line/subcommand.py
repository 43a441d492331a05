"""How a subcommand is declared: its name, help, examples, the function that runs it, and ``-f POLICY``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import TypeAlias

Command: TypeAlias = Callable[[argparse.Namespace], int]
Subcommands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def command(
    commands: Subcommands,
    name: str,
    run: Command,
    text: str,
    epilog: str,
) -> argparse.ArgumentParser:
    """Adds a subcommand. ``text``: its line in the list of commands; ``epilog``: its examples."""
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
    """Adds ``-f POLICY``, which may be repeated: a list of paths, or None where it is not required and not given."""
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
    """Keeps the line breaks of descriptions and examples."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34, width=100)
