"""The command line of ``linkerd-adapter``: every command, its options, and examples of its use.

It knows words only; ``cli`` says what each command does.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

from extproc import __version__

Command = Callable[[argparse.Namespace], int]


def parser(run: Mapping[str, Command]) -> argparse.ArgumentParser:
    """The whole command line; the namespace's ``run`` is the function of the chosen command."""
    top = argparse.ArgumentParser(
        prog="linkerd-adapter",
        formatter_class=Help,
        description="Policies of extproc on Linkerd: manifests, where requests go, and what is wrong with routes.",
    )
    top.add_argument("--version", action="version", version=f"linkerd-adapter {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _lint(commands, run["lint"])
    return top


def _lint(commands: argparse._SubParsersAction[argparse.ArgumentParser], run: Command) -> None:
    lint = command(
        commands,
        "lint",
        run,
        "what Linkerd would not do with routes, Services and profiles as they are meant",
        """\
        examples:
          linkerd-adapter lint routes.yaml services.yaml
          linkerd-adapter lint manifests/ --json | jq '.findings[].code'
          kubectl get httproutes,grpcroutes,services,serviceprofiles -A -o yaml | linkerd-adapter lint -

        What is given together is judged together. Exits with 1 when there is an error; warnings alone exit with 0.
        docs/linkerd-lint.md has every code.
        """,
    )
    lint.add_argument(
        "file", type=Path, nargs="+", metavar="FILE", help="a manifest, a directory of them, or - for stdin"
    )
    lint.add_argument("--json", action="store_true", help="the result as JSON on stdout")


def command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, run: Command, text: str, epilog: str
) -> argparse.ArgumentParser:
    """A command: ``text`` is its line in the list, ``epilog`` its examples."""
    parser = commands.add_parser(
        name,
        help=text,
        description=text[:1].upper() + text[1:] + ".",
        epilog=dedent(epilog),
        formatter_class=Help,
    )
    parser.set_defaults(run=run)
    return parser


class Help(argparse.RawDescriptionHelpFormatter):
    """Examples as they are written."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34, width=100)
