"""``extproc explain``: what would become of a request, and why."""

from __future__ import annotations

import argparse
import json
import sys

from extproc.cli.shared_flags import add_locality_flag
from extproc.command_line.request_flags import add_request_flags
from extproc.command_line.subcommand import Subcommands, command, policies


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
          extproc explain -f policy.yaml --path /v1/completions --body @request.json --endpoints
        """,
    )
    policies(explain)
    add_request_flags(explain)
    add_locality_flag(explain)
    explain.add_argument(
        "--endpoints", action="store_true", help="the score of every server of which one is picked, and why (picking)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the explanation as JSON; returns the exit status. Raises ``PolicyProblems``."""
    from extproc.exchange.explain import explain
    from extproc.policyfile import loader

    snapshot = loader.load(arguments.file, locality=arguments.locality).snapshot
    asked = arguments.method, arguments.path, arguments.header, arguments.body
    found = explain(snapshot, *asked, endpoints=arguments.endpoints)
    json.dump(found, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
    return 0
