"""``extproc demo``: the gateway with three small model servers and traffic, or a whole pipeline; verified."""

from __future__ import annotations

import argparse

from extproc.command_line.argument_types import count
from extproc.command_line.subcommand import Subcommands, command
from extproc.errors import not_installed

_REQUESTS = {"canary": 400, "pipeline": 200}
"""How much traffic each has."""


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
          extproc demo pipeline              preprocessing, router, three models, postprocessing: every request a trace
          extproc demo pipeline --keep       the same, with its page of traces
        """,
    )
    demo.add_argument(
        "scene",
        nargs="?",
        choices=tuple(_REQUESTS),
        default="canary",
        help="canary: a gateway and two versions of a model (the default); pipeline: a traced inference pipeline",
    )
    demo.add_argument("--requests", type=count, metavar="N", help="how much traffic (canary 400, pipeline 200)")
    demo.add_argument("--seed", type=int, metavar="N", help="repeat a run's traffic")
    demo.add_argument("--keep", action="store_true", help="leave it running, until Ctrl-C, and say where its page is")
    demo.add_argument("--json", action="store_true", help="the result as JSON on stdout")


def run(arguments: argparse.Namespace) -> int:
    """Runs the demo; returns 0 where every check holds (with ``--keep``, once it is stopped). Raises ``SetupError``."""
    requests = _REQUESTS[arguments.scene] if arguments.requests is None else arguments.requests
    try:
        if arguments.scene == "pipeline":
            from extproc.demo.pipeline.run import run as run_demo
        else:
            from extproc.demo.run import run as run_demo
    except ModuleNotFoundError as error:
        raise not_installed(error, "gateway") from None
    return run_demo(as_json=arguments.json, requests=requests, seed=arguments.seed, keep=arguments.keep)
