"""``linkerd-adapter explain``: which backend a request would reach, and why."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from extproc.command_line.request_flags import add_request_flags
from extproc.command_line.subcommand import Subcommands, command, policies
from extproc.policyfile import loader
from linkerd_adapter.cli.gateway_flags import add_gateway_flags
from linkerd_adapter.names import Service


def add(commands: Subcommands) -> None:
    """Adds the command and its flags."""
    explain = command(
        commands,
        "explain",
        run,
        "which backend a request would reach, and why (JSON)",
        """\
        examples:
          linkerd-adapter explain -f policy.yaml --path /v1/chat/completions --body '{"model": "llama-3-8b"}'
          linkerd-adapter explain -f policy.yaml --path /v1/completions -H 'x-user-id: ann' --body @request.json
          routes=httproutes.gateway.networking.k8s.io,httproutes.policy.linkerd.io,grpcroutes
          kubectl get $routes,services,serviceprofiles,endpointslices -A -o yaml > live.yaml
          linkerd-adapter explain -f policy.yaml --from-live live.yaml --path /v1/chat/completions --body @request.json

        Without --from-live the routes are those that `render` writes.
        """,
    )
    policies(explain)
    add_gateway_flags(explain)
    explain.add_argument(
        "--from-live", type=Path, metavar="FILE", help="what kubectl get … -o yaml says, instead of our own rendering"
    )
    add_request_flags(explain)


def run(arguments: argparse.Namespace) -> int:
    """Prints the explanation as JSON; the exit status."""
    from linkerd_adapter import kubectl_output, manifests
    from linkerd_adapter.explain import ClientRequest, explain

    snapshot = loader.load(arguments.file).snapshot
    own = Service(arguments.namespace or manifests.namespace(snapshot), arguments.name)
    request = ClientRequest(arguments.method, arguments.path, tuple(arguments.header), arguments.body)
    result = explain(snapshot, own, request, kubectl_output.read(arguments.from_live) if arguments.from_live else None)
    json.dump(result, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
    return 0
