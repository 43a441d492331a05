"""``extproc explain``: what would become of a request, and why."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from extproc.cli.shared_flags import add_locality_flag
from extproc.command_line.request_flags import add_request_flags
from extproc.command_line.subcommand import Subcommands, command, policies

if TYPE_CHECKING:
    from extproc.picking.endpoint_state import EndpointState


def add(commands: Subcommands) -> None:
    """Adds the command and its flags."""
    explain = command(
        commands,
        "explain",
        run,
        "what would become of a request, and why (JSON)",
        """\
        examples:
          extproc explain -f policy.yaml --path /v1/chat/completions --body '{"model": "llama-3-8b"}'
          extproc explain -f policy.yaml --path /v1/completions -H 'x-user-id: ann' --body @request.json
          extproc explain -f policy.yaml --path /v2/models/iris/infer -H 'x-model-version: v2'
          extproc explain -f policy.yaml --path /v1/completions --body @request.json --endpoints http://127.0.0.1:9090
        """,
    )
    policies(explain)
    add_request_flags(explain)
    add_locality_flag(explain)
    explain.add_argument(
        "--endpoints",
        nargs="?",
        const="",
        metavar="URL",
        help="the score of each server that may be picked, by the loads that the processor with this admin port knows; "
        "without URL, of servers of which nothing is known. The least score wins; without `picking` there is none",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the explanation as JSON; returns the exit status. Raises ``PolicyProblems`` and ``SetupError``."""
    from extproc.exchange.explain import explain
    from extproc.policyfile import loader

    snapshot = loader.load(arguments.file, locality=arguments.locality).snapshot
    asked = arguments.method, arguments.path, arguments.header, arguments.body
    found = explain(snapshot, *asked, endpoints=_states(arguments.endpoints))
    json.dump(found, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
    return 0


def _states(source: str | None) -> Mapping[str, EndpointState] | None:
    """What is known of servers: nothing, unless a processor is asked; None where no scores are wanted."""
    if not source:
        return None if source is None else {}
    from extproc.cli.endpoint_table import states

    return states([source])
