"""The command ``linkerd-adapter``: arguments in, exit status out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from extproc import __version__
from extproc.command_line.entry_point import run_command
from extproc.command_line.subcommand import CommandParser, Help
from linkerd_adapter.cli import explain, lint, render

COMMANDS = (render, explain, lint)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    return run_command(parser(), argv)


def parser() -> argparse.ArgumentParser:
    """The parser of the command line; the namespace's ``run`` is the function of the chosen command."""
    top = CommandParser(
        prog="linkerd-adapter",
        formatter_class=Help,
        description="Policies of extproc on Linkerd: manifests, where requests go, and what is wrong with routes.",
    )
    top.add_argument("--version", action="version", version=f"linkerd-adapter {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for each in COMMANDS:
        each.add(commands)
    return top
