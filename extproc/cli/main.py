"""The command ``extproc``: arguments in, exit status out."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from textwrap import dedent

from extproc import __version__
from extproc.command_line.entry_point import run_command
from extproc.command_line.subcommand import CommandParser, Help

COMMANDS = (
    *("serve", "up", "controller", "demo", "check", "doctor", "explain", "bench", "stat", "tap", "edges", "pools"),
    *("rollout", "render", "demo-model", "completion"),
)
"""Each is a module of this package, with ``_`` for ``-``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    words = sys.argv[1:] if argv is None else argv
    if "_ARGCOMPLETE" in os.environ:  # a shell asks what may follow
        from extproc.cli.completion import complete

        complete(parser())
    return run_command(parser(words[0] if words else ""), argv)


def parser(first: str = "") -> argparse.ArgumentParser:
    """The parser; ``run`` of the parsed arguments is the chosen command's function.

    ``first``: the first argument. Where it is a command, only that one is loaded and known.
    """
    top = CommandParser(
        prog="extproc",
        formatter_class=Help,
        description="Makes a service mesh AI-aware: routes inference requests by model, version and GPU pool.",
        epilog=dedent("""\
            examples:
              extproc demo                                  see it work, with a real Envoy and three model servers
              extproc check -f policy.yaml                  find every mistake in a policy file
              extproc up -f policy.yaml                     an AI gateway on this machine, http://127.0.0.1:8080
              extproc stat --watch                          golden metrics of running processors
              extproc explain -f policy.yaml --path /v1/chat/completions --body '{"model": "llama-3-8b"}'
            """),
    )
    top.add_argument("--version", action="version", version=f"extproc {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in (first,) if first in COMMANDS else COMMANDS:
        import_module(f"extproc.cli.{name.replace('-', '_')}").add(commands)
    return top
