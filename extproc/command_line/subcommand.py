"""How a subcommand is declared: its name, help, examples, the function that runs it, and ``-f POLICY``; what is said of
words that it does not take.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import dedent
from typing import NoReturn, TypeAlias

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


class CommandParser(argparse.ArgumentParser):
    """Says in one line what was meant, where the words allow a guess. The parsers of its subcommands do, too."""

    _words: Sequence[str] = ()

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """No word is left over: a subcommand itself says what is wrong with it."""
        self._words = list(args or ())
        found, left = super().parse_known_args(args, namespace)
        if left:
            self.error(f"unrecognized arguments: {' '.join(left)}")
        return found, left

    def error(self, message: str) -> NoReturn:
        """Prints usage and ``message`` on stderr; exit status 2."""
        if self._takes_policies and (stray := next(filter(_looks_like_policy, self._stray_words()), "")):
            message = f"a policy file is given with -f: -f {stray}"
        super().error(message)

    @property
    def _takes_policies(self) -> bool:
        return "-f" in self._option_string_actions

    def _stray_words(self) -> list[str]:
        """Words that follow no flag."""
        before = ["", *self._words]
        return [word for word, last in zip(self._words, before, strict=False) if not last.startswith("-")]


def _looks_like_policy(word: str) -> bool:
    return word.endswith((".yaml", ".yml")) or ("/" in word and Path(word).is_dir())


class Help(argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of descriptions and examples; what has none is wrapped."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34, width=100)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        filled = argparse.RawDescriptionHelpFormatter if "\n" in text else argparse.HelpFormatter
        return filled._fill_text(self, text, width, indent)
