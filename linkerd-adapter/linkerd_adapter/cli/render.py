"""``linkerd-adapter render``: manifests on stdout."""

from __future__ import annotations

import argparse
import sys

from extproc.command_line.argument_types import count
from extproc.command_line.subcommand import Subcommands, command, policies
from extproc.policyfile import loader
from linkerd_adapter.cli.gateway_flags import add_gateway_flags
from linkerd_adapter.names import Service

_OPTIONS = ("image", "envoy_image", "replicas", "target_port", "app_protocol", "audit")


def add(commands: Subcommands) -> None:
    """Adds the command and its flags."""
    render = command(
        commands,
        "render",
        run,
        "manifests on stdout: the inference gateway, Services, HTTPRoutes, authorization",
        """\
        examples:
          linkerd-adapter render -f policy.yaml --image registry.example.com/aimesh-extproc:0.1.0 | kubectl apply -f -
          linkerd-adapter render -f policies/ --namespace ai --target-port 8000
          linkerd-adapter render -f policy.yaml --audit     log clients that bypass the gateway, and let them

        What Linkerd can't do as the policy says is told on stderr.
        """,
    )
    policies(render)
    add_gateway_flags(render)
    render.add_argument(
        "--image", metavar="IMAGE", help="of the processor; its entry point is extproc (aimesh-extproc:VERSION)"
    )
    render.add_argument("--envoy-image", metavar="IMAGE", help="of Envoy (envoyproxy/envoy, the version tested with)")
    render.add_argument("--replicas", type=count, metavar="N", help="of the gateway (2)")
    render.add_argument(
        "--target-port",
        type=_port,
        metavar="PORT",
        help="on which the pods of model servers listen, number or name (each policy's own port)",
    )
    render.add_argument(
        "--app-protocol",
        choices=("http", "kubernetes.io/h2c"),
        help="of the Services, where model servers speak only one; else Linkerd looks at what comes, which also suits "
        "servers that take HTTP/1.1 and gRPC on one port. With kubernetes.io/h2c the gateway speaks HTTP/2 to them",
    )
    render.add_argument(
        "--audit", action="store_true", help="let other clients than the gateway reach model servers, and log them"
    )


def run(arguments: argparse.Namespace) -> int:
    """Writes the manifests to stdout, and what Linkerd can't do to stderr; the exit status."""
    from extproc.render.document import to_yaml
    from linkerd_adapter import manifests
    from linkerd_adapter.gateway import Options

    files = loader.read(arguments.file)
    snapshot = loader.build(files).snapshot
    given = {name: getattr(arguments, name) for name in _OPTIONS if getattr(arguments, name) is not None}
    own = Service(arguments.namespace or manifests.namespace(snapshot), arguments.name)
    rendered = manifests.render(snapshot, dict(files.texts), Options(gateway=own, **given))
    sys.stdout.write("---\n".join(map(to_yaml, rendered.manifests)))
    for note in rendered.notes:
        print(f"linkerd-adapter: note: {note}", file=sys.stderr)
    return 0


def _port(text: str) -> int | str:
    return int(text) if text.isdecimal() else text
