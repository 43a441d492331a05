"""``extproc completion``: what a shell needs to complete this command line.

By argcomplete, since it knows bash, zsh and fish; shtab, which needs no call of the program, has no fish. A shell calls
the program with the variable ``_ARGCOMPLETE`` for each completion.
"""

from __future__ import annotations

import argparse
import sys

from extproc.command_line.subcommand import Subcommands, command

SHELLS = ("bash", "zsh", "fish")


def add(commands: Subcommands) -> None:
    """Adds the command and its argument."""
    completion = command(
        commands,
        "completion",
        run,
        "a script with which a shell completes these commands and their flags",
        """\
        examples:
          extproc completion bash >> ~/.bashrc
          extproc completion zsh >> ~/.zshrc
          extproc completion fish > ~/.config/fish/completions/extproc.fish
        """,
    )
    completion.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))


def run(arguments: argparse.Namespace) -> int:
    """Prints the script."""
    from argcomplete.shell_integration import shellcode

    sys.stdout.write(shellcode(["extproc"], shell=arguments.shell) + "\n")
    return 0


def complete(parser: argparse.ArgumentParser) -> None:
    """Tells the shell what may follow, and ends the process."""
    from argcomplete import autocomplete

    autocomplete(parser)
