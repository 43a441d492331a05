"""``extproc edges``: who calls which model, and which GPU pool serves it."""

from __future__ import annotations

import argparse

from extproc.cli.shared_flags import ADMIN, add_sources_flag, add_window_flag
from extproc.command_line.argument_types import count
from extproc.command_line.subcommand import Subcommands, command

CALLERS = 20
"""Default of ``--callers``."""


def add(commands: Subcommands) -> None:
    """Adds the command and its flags."""
    edges = command(
        commands,
        "edges",
        run,
        "who calls which model, and which GPU pool serves it",
        """\
        examples:
          extproc edges
          extproc edges --from http://aimesh-extproc-admin.aimesh-system:9090 --callers 50
          extproc edges --json | jq -r '.rows[].caller' | sort -u

        A caller is whom the mesh has authenticated: the SPIFFE ID of the client's certificate (Istio, or any Envoy with
        mutual TLS), or the client that Linkerd's proxy names. Nothing that a client says of itself counts; where the
        mesh names nobody it is `unknown`.
        """,
    )
    add_sources_flag(edges)
    add_window_flag(edges)
    edges.add_argument(
        "--callers", type=count, default=CALLERS, metavar="N", help="by name; the rest is `other` (%(default)s)"
    )
    edges.add_argument("--watch", action="store_true", help="again and again, until Ctrl-C")
    edges.add_argument("--json", action="store_true", help="as JSON on stdout; with --watch one line for each look")


def run(arguments: argparse.Namespace) -> int:
    """Prints the table; returns the exit status. Raises ``SetupError``."""
    from extproc.cli.golden_tables import print_callers

    return print_callers(
        arguments.sources or [ADMIN],
        arguments.window,
        arguments.callers,
        as_json=arguments.json,
        watch=arguments.watch,
    )
