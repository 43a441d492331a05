"""The command line of ``linkerd-adapter``: every command, its options, and examples of its use.

It knows words only; ``cli`` says what each command does.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from extproc import __version__
from extproc.cli.argument_types import body, count, header
from extproc.cli.subcommand import Command, Help, command, policies
from linkerd_adapter.names import label


def parser(run: Mapping[str, Command]) -> argparse.ArgumentParser:
    """The whole command line; the namespace's ``run`` is the function of the chosen command."""
    top = argparse.ArgumentParser(
        prog="linkerd-adapter",
        formatter_class=Help,
        description="Policies of extproc on Linkerd: manifests, where requests go, and what is wrong with routes.",
    )
    top.add_argument("--version", action="version", version=f"linkerd-adapter {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    render = command(
        commands,
        "render",
        run["render"],
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
    _where(render)
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

    explain = command(
        commands,
        "explain",
        run["explain"],
        "which backend a request would reach, and why (JSON)",
        """\
        examples:
          linkerd-adapter explain -f policy.yaml --path /v1/chat/completions --body '{"model": "llama-3-8b"}'
          linkerd-adapter explain -f policy.yaml --path /v1/completions -H 'x-user-id: ann' --body @request.json
          kubectl get httproutes,grpcroutes,services,serviceprofiles,endpointslices -A -o yaml > live.yaml
          linkerd-adapter explain -f policy.yaml --from-live live.yaml --path /v1/chat/completions --body @request.json

        Without --from-live the routes are those that `render` writes.
        """,
    )
    policies(explain)
    _where(explain)
    explain.add_argument(
        "--from-live", type=Path, metavar="FILE", help="what kubectl get … -o yaml says, instead of our own rendering"
    )
    explain.add_argument("--method", default="POST", help="HTTP method (%(default)s)")
    explain.add_argument("--path", required=True, help="request path, query included")
    explain.add_argument(
        "-H",
        "--header",
        type=header,
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="a header of the client's; may be given more than once",
    )
    explain.add_argument(
        "--body", type=body, default=b"", metavar="TEXT|@FILE", help="the request's body; @- reads stdin"
    )

    lint = command(
        commands,
        "lint",
        run["lint"],
        "what Linkerd would not do with routes, Services and profiles as they are meant",
        """\
        examples:
          linkerd-adapter lint routes.yaml services.yaml
          linkerd-adapter lint manifests/ --json | jq '.findings[].code'
          kubectl get httproutes,grpcroutes,services,serviceprofiles,endpointslices -A -o yaml | linkerd-adapter lint -

        What is given together is judged together. Exits with 1 when there is an error; warnings alone exit with 0.
        docs/linkerd-lint.md has every code.
        """,
    )
    lint.add_argument(
        "file", type=Path, nargs="+", metavar="FILE", help="a manifest, a directory of them, or - for stdin"
    )
    lint.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    return top


def _where(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--namespace",
        type=_name,
        metavar="NS",
        help="of the gateway, and of policies that name none (the policies' own, where they have one in common)",
    )
    parser.add_argument("--name", type=_name, default="inference-gateway", help="of the gateway (%(default)s)")


def _name(text: str) -> str:
    """What Kubernetes takes as a name."""
    if label(text) != text:
        raise argparse.ArgumentTypeError(f"{text!r} is no name; use lower-case letters, digits and '-', a letter first")
    return text


def _port(text: str) -> int | str:
    return int(text) if text.isdecimal() else text
