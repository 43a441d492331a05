"""``extproc render istio``: manifests for Istio."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from extproc.command_line.argument_types import address, data_address
from extproc.command_line.subcommand import Subcommands, command, policies
from extproc.errors import SetupError
from extproc.render.gateway_api.gateway_options import PICKER, GatewayOptions
from extproc.render.istio.istio_options import PROXY_KINDS, RELEASES, IstioOptions

if TYPE_CHECKING:
    from extproc.policy.snapshot import Snapshot

_DEFAULT = IstioOptions()


def add(commands: Subcommands) -> None:
    """Adds the command and its flags."""
    istio = command(
        commands,
        "istio",
        run,
        "manifests for Istio: routes, subsets, telemetry, and the filters that ask the processor",
        """\
        examples:
          extproc render istio -f policy.yaml | kubectl apply -f -
          extproc render istio -f policy.yaml --for sidecar --callers web --istio-version 1.28
          extproc render istio -f policy.yaml --for gateway --gateway istio-ingress/public --host llm.example.com
          extproc render istio -f policy.yaml --processor unix:///run/aimesh/processor.sock --fail-closed
          extproc render istio -f policy.yaml --routes-only | kubectl apply -f -      first, where something was removed
          extproc render istio -f policy.yaml --inference-pool --gateway infra/public --host llm.example.com

        What the target's Istio can't do is told on stderr.
        """,
    )
    policies(istio)
    istio.add_argument(
        "--namespace", default=_DEFAULT.namespace, metavar="NAME", help="of policies that name none (%(default)s)"
    )
    istio.add_argument(
        "--routes-only",
        action="store_true",
        help="only the VirtualServices: what is applied before the rest where versions, pools or hosts were removed",
    )
    istio.add_argument(
        "--inference-pool",
        action="store_true",
        help="InferencePools and HTTPRoutes in the place of all that: the processor is the gateway's endpoint picker, "
        f"--processor the Service by which pools find it in their namespace ({PICKER}), and --host any unless given",
    )
    add_mesh_flags(istio)


def add_mesh_flags(istio: argparse._ActionsContainer) -> None:
    """Adds the flags that say what the mesh is like: where things are in it, and what its proxies are to do."""
    istio.add_argument(
        "--for",
        dest="proxies",
        choices=PROXY_KINDS,
        action="append",
        help="the proxies that get the filters: the gateway, the clients' sidecars, the model servers' (to time them "
        "only), an ambient waypoint (which Istio does not support); may be given more than once (gateway and sidecar)",
    )
    istio.add_argument("--istio-version", choices=RELEASES, help=f"({_DEFAULT.release})")
    _add_gateway_flags(istio)
    istio.add_argument("--callers", metavar="NAMESPACE", help="of the pods that call models (the policies' own)")
    istio.add_argument("--waypoint", metavar="NAME", help=f"({_DEFAULT.waypoint})")
    istio.add_argument(
        "--processor",
        type=processor,
        action="append",
        metavar="ADDRESS",
        help="an `extproc serve`: host:port of a Service of the mesh; or dns:///host:port or unix:///path, which "
        f"may be given more than once ({_DEFAULT.processors[0]})",
    )
    istio.add_argument(
        "--meshed-endpoints",
        action="store_true",
        help="endpoints that the policy lists are pods with sidecars, as in other clusters of the mesh: use mutual TLS",
    )
    istio.add_argument(
        "--body",
        choices=("buffered", "streamed"),
        help=f"how Envoy shows bodies: whole, or as they come (one round trip less, no retries) ({_DEFAULT.body})",
    )
    istio.add_argument(
        "--fail-closed",
        action="store_true",
        help="answer 503 when no processor does; else requests pass on unrouted",
    )
    istio.add_argument(
        "--prometheus-rules",
        action="store_true",
        help="a PrometheusRule as well, for Prometheus' operator: what `render rules --source istio` writes",
    )
    istio.add_argument(
        "--access-log",
        metavar="PROVIDER",
        help="the mesh's extension provider that writes our access log (istio/README.md); none: logs stay as they are",
    )


def run(arguments: argparse.Namespace) -> int:
    """Writes manifests to stdout and notes for the user to stderr; returns the exit status.

    Raises ``SetupError`` and ``PolicyProblems``.
    """
    from extproc.policyfile import loader
    from extproc.render.istio.manifests import manifests, notes

    snapshot = loader.load(arguments.file).snapshot
    if arguments.inference_pool:
        return _pools(snapshot, arguments)
    options = istio_options(arguments)
    sys.stdout.write(manifests(snapshot, options))
    for note in notes(snapshot, options):
        print(f"extproc: {note}", file=sys.stderr)
    return 0


def _pools(snapshot: Snapshot, arguments: argparse.Namespace) -> int:
    from extproc.render.gateway_api import inference_pools

    without_effect = [flag for flag, value in _given_for_filters(arguments).items() if value not in (None, False)]
    if without_effect:
        raise SetupError(
            f"{', '.join(without_effect)}: without effect on an InferencePool; --inference-pool is for gateways, and "
            "goes with --namespace, --gateway, --host, --processor and --fail-closed"
        )
    pickers = arguments.processor or [PICKER]
    if len(pickers) > 1:
        raise SetupError("a pool has one picker, which is a Service: give one --processor NAME.NAMESPACE:PORT")
    options = GatewayOptions(
        flavor="plain",
        gateway=arguments.gateway,
        namespace=arguments.namespace,
        hosts=tuple(arguments.host or ()),
        processor=pickers[0],
    )
    fail_open = not arguments.fail_closed
    sys.stdout.write(inference_pools.manifests(snapshot, options, fail_open=fail_open))
    for note in inference_pools.notes(snapshot, fail_open=fail_open):
        print(f"extproc: {note}", file=sys.stderr)
    return 0


def _given_for_filters(arguments: argparse.Namespace) -> dict[str, object]:
    """Flags that say nothing about pools, and what was given; None and False: nothing."""
    return {
        "--for": (set(arguments.proxies or ()) - {"gateway"}) or None,
        "--istio-version": arguments.istio_version,
        "--gateway-labels": arguments.gateway_labels,
        "--callers": arguments.callers,
        "--waypoint": arguments.waypoint,
        "--meshed-endpoints": arguments.meshed_endpoints,
        "--body": arguments.body,
        "--routes-only": arguments.routes_only,
        "--prometheus-rules": arguments.prometheus_rules,
        "--access-log": arguments.access_log,
    }


def _add_gateway_flags(istio: argparse._ActionsContainer) -> None:
    istio.add_argument(
        "--gateway",
        default=_DEFAULT.gateway,
        metavar="NAMESPACE/NAME",
        help="the Gateway by which clients come; its pods are in the same namespace (%(default)s)",
    )
    istio.add_argument(
        "--gateway-labels",
        type=labels,
        metavar="KEY=VALUE,…",
        help="of those pods (istio=ingressgateway)",
    )
    istio.add_argument(
        "--host",
        action="append",
        metavar="NAME",
        help="by which clients call the gateway; may be given more than once (the policies' own hosts)",
    )


def istio_options(arguments: argparse.Namespace) -> IstioOptions:
    """The options that the command line gives."""
    return IstioOptions(
        proxies=tuple(dict.fromkeys(arguments.proxies or _DEFAULT.proxies)),
        release=arguments.istio_version or _DEFAULT.release,
        namespace=arguments.namespace,
        gateway=arguments.gateway,
        gateway_labels=arguments.gateway_labels or _DEFAULT.gateway_labels,
        hosts=tuple(arguments.host or ()),
        callers=arguments.callers or _DEFAULT.callers,
        waypoint=arguments.waypoint or _DEFAULT.waypoint,
        processors=tuple(arguments.processor or _DEFAULT.processors),
        meshed_endpoints=arguments.meshed_endpoints,
        body=arguments.body or _DEFAULT.body,
        fail_open=not arguments.fail_closed,
        routes_only=arguments.routes_only,
        rules=arguments.prometheus_rules,
        access_log=arguments.access_log or _DEFAULT.access_log,
    )


def processor(text: str) -> str:
    """``host:port``, ``dns:///host:port`` or ``unix:///path``."""
    if not text.startswith("dns:"):
        return data_address(text)
    if not text.startswith("dns:///"):
        raise argparse.ArgumentTypeError(f"{text!r} is no address; write dns:///host:port")
    address(text.removeprefix("dns:///"))
    return text


def labels(text: str) -> tuple[tuple[str, str], ...]:
    """``key=value,key=value``."""
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(key and equals for key, equals, _ in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} are no labels; write key=value,key=value")
    return tuple((key, value) for key, _, value in pairs)
