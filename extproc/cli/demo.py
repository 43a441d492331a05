"""``extproc demo``: the gateway with three small model servers and traffic, verified."""

from __future__ import annotations

import argparse

from extproc.command_line.subcommand import Subcommands, command
from extproc.errors import not_installed


def add(commands: Subcommands) -> None:
    """Adds the command and its flags."""
    demo = command(
        commands,
        "demo",
        run,
        "`up` with three small model servers and traffic; verifies what it shows",
        """\
        examples:
          extproc demo
          extproc demo --keep
          extproc demo --requests 2000
          extproc demo --json | jq .checks
        """,
    )
    demo.add_argument("--requests", type=int, default=400, metavar="N", help="how much traffic (%(default)s)")
    demo.add_argument("--seed", type=int, metavar="N", help="repeat a run's traffic")
    demo.add_argument("--keep", action="store_true", help="leave it running, until Ctrl-C, and say where its page is")
    demo.add_argument("--json", action="store_true", help="the result as JSON on stdout")


def run(arguments: argparse.Namespace) -> int:
    """Runs the demo; returns 0 where every check holds (with ``--keep``, once it is stopped). Raises ``SetupError``."""
    try:
        from extproc.demo.run import run as run_demo
    except ModuleNotFoundError as error:
        raise not_installed(error, "gateway") from None
    return run_demo(as_json=arguments.json, requests=arguments.requests, seed=arguments.seed, keep=arguments.keep)
