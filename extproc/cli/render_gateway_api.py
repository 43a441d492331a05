"""``extproc render gateway-api``: manifests for a gateway of the Gateway API that calls an ext_proc service."""

from __future__ import annotations

import argparse
import sys

from extproc.command_line.argument_types import address
from extproc.command_line.subcommand import Subcommands, command, policies
from extproc.render.gateway_api.gateway_options import FLAVORS, GatewayOptions

_DEFAULT = GatewayOptions(flavor="plain")


def add(commands: Subcommands) -> None:
    """Adds the command and its flags."""
    gateway = command(
        commands,
        "gateway-api",
        run,
        "HTTPRoutes, and what has Envoy Gateway, GKE or kgateway call the processor",
        """\
        examples:
          extproc render gateway-api -f policy.yaml --flavor envoy-gateway --gateway infra/public | kubectl apply -f -
          extproc render gateway-api -f policy.yaml --flavor gke --gateway infra/llm --host llm.example.com

        What the gateway imposes, and what of the policies it can't do, is told in comments on top and on stderr.
        """,
    )
    policies(gateway)
    gateway.add_argument("--flavor", choices=FLAVORS, required=True, help="whose gateway; plain: only routes")
    gateway.add_argument(
        "--gateway", default=_DEFAULT.gateway, metavar="NAMESPACE/NAME", help="the Gateway (%(default)s)"
    )
    gateway.add_argument(
        "--gateway-class",
        default=_DEFAULT.gateway_class,
        metavar="NAME",
        help="of GKE: global ones choose the Service before they call the processor (%(default)s)",
    )
    gateway.add_argument(
        "--namespace", default=_DEFAULT.namespace, metavar="NAME", help="of policies that name none (%(default)s)"
    )
    gateway.add_argument(
        "--host", action="append", metavar="NAME", help="by which clients call; may be given more than once (any)"
    )
    gateway.add_argument(
        "--processor",
        type=address,
        default=_DEFAULT.processor,
        metavar="NAME.NAMESPACE:PORT",
        help="its Service (%(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Writes the manifests to stdout; returns the exit status. Raises ``PolicyProblems``, ``SetupError``."""
    from extproc.policyfile import loader
    from extproc.render.gateway_api.gateway_manifests import manifests, notes

    options = GatewayOptions(
        flavor=arguments.flavor,
        gateway=arguments.gateway,
        gateway_class=arguments.gateway_class,
        namespace=arguments.namespace,
        hosts=tuple(arguments.host or ()),
        processor=arguments.processor,
    )
    snapshot = loader.load(arguments.file).snapshot
    written = manifests(snapshot, options)
    for note in notes(snapshot, options):
        print(f"extproc: {note}", file=sys.stderr)
    sys.stdout.write(written)
    return 0
