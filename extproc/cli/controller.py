"""``extproc controller``: keeps the mesh, and the status of policies, as the policies of a cluster say."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from extproc.cli.render_istio import add_mesh_flags, istio_options
from extproc.command_line.argument_types import seconds
from extproc.command_line.subcommand import Subcommands, command
from extproc.errors import SetupError, not_installed
from extproc.render.istio.istio_options import IstioOptions

if TYPE_CHECKING:
    from extproc.kubernetes.cluster_rollouts import ClusterRollouts
    from extproc.kubernetes.mesh_writer import MeshWriter
    from extproc.kubernetes.ownership import Ownership
    from extproc.kubernetes.pass_contents import Renderer
    from extproc.policy.snapshot import Snapshot
    from extproc.render.document import Doc

log = logging.getLogger(__name__)

MESHES = {"istio": ("istio",), "linkerd": ("linkerd",), "both": ("istio", "linkerd")}
SETTLE = 2.0
"""``change_order.SETTLE``, which is not imported for a help text."""


def add(commands: Subcommands) -> None:
    """Adds the command and its flags."""
    controller = command(
        commands,
        "controller",
        run,
        "keep a mesh, and the status of policies, as the policies of a Kubernetes cluster say",
        """\
        examples:
          extproc controller --mesh istio
          extproc controller --mesh linkerd --gateway-name ai/inference-gateway
          extproc controller --mesh istio --for sidecar --namespace ai --lease ai/controller

        Credentials are those of KUBECONFIG or the pod. Several may run: the one that holds the Lease works.
        What it applies is what `extproc render istio` and `linkerd-adapter render` write.
        """,
    )
    controller.add_argument("--mesh", choices=MESHES, default="istio", help="(%(default)s)")
    controller.add_argument(
        "--namespace",
        dest="namespaces",
        action="append",
        metavar="NAME",
        help="whose policies and pools; may be given more than once (all)",
    )
    controller.add_argument(
        "--lease",
        type=place,
        default=("aimesh-system", "aimesh-controller"),
        metavar="NAMESPACE/NAME",
        help="by which one of several controllers works (aimesh-system/aimesh-controller)",
    )
    controller.add_argument(
        "--settle",
        type=seconds,
        default=SETTLE,
        metavar="SECONDS",
        help="in which proxies and processors follow a change; each step of a change waits so long (%(default)g)",
    )
    controller.add_argument(
        "--admin",
        metavar="HOST:PORT",
        help="where it serves /healthz, /metrics and /rollouts (nowhere)",
    )
    controller.add_argument(
        "--prometheus",
        action="append",
        default=[],
        metavar="URL",
        help="a Prometheus that policies may name for guards with promql; may be given more than once (none)",
    )
    add_mesh_flags(controller.add_argument_group("Istio", "as for `extproc render istio`"))
    linkerd = controller.add_argument_group("Linkerd", "as for `linkerd-adapter render`")
    linkerd.add_argument(
        "--gateway-name",
        type=place,
        metavar="NAMESPACE/NAME",
        default=("aimesh-system", "inference-gateway"),
        help="of the inference gateway (aimesh-system/inference-gateway)",
    )
    linkerd.add_argument("--image", metavar="IMAGE", help="of the processor in it (aimesh-extproc:VERSION)")
    controller.set_defaults(namespace=IstioOptions().namespace, routes_only=False)


def run(arguments: argparse.Namespace) -> int:
    """Works until SIGTERM or SIGINT. Raises ``SetupError`` where there are no credentials, or no client library."""
    try:
        from extproc.kubernetes.api import NoCredentials, connect
    except ModuleNotFoundError as error:
        raise not_installed(error, "kubernetes") from None
    from extproc.admin.controller_pages import ControllerPages
    from extproc.kubernetes.controller import Controller
    from extproc.kubernetes.leader import Election
    from extproc.kubernetes.ownership import Ownership

    namespaces = arguments.namespaces or ()
    identity = f"{os.environ.get('POD_NAME') or socket.gethostname()}_{uuid.uuid4().hex[:8]}"
    election = Election(identity, *arguments.lease)
    ownership = Ownership("/".join(arguments.lease))
    meshes = _meshes(arguments, ownership)
    rollouts = _rollouts(arguments, ownership)
    pages = (
        ControllerPages(arguments.admin, lambda: rollouts.described if rollouts else ()) if arguments.admin else None
    )

    async def work() -> None:
        async with connect():
            pass
        controller = Controller(
            meshes, election, ownership, namespaces=namespaces, rollouts=rollouts, settle=arguments.settle
        )
        task = asyncio.current_task()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel if task else str)
        await controller.run()

    if pages is not None:
        pages.start()
    try:
        asyncio.run(work())
    except NoCredentials as error:
        raise SetupError(f"{error}; set KUBECONFIG, or run as a pod with a ServiceAccount") from None
    except asyncio.CancelledError:
        pass
    finally:
        if pages is not None:
            pages.stop()
    return 0


def place(text: str) -> tuple[str, str]:
    """``namespace/name``."""
    namespace, slash, name = text.partition("/")
    if not (namespace and slash and name) or "/" in name:
        raise argparse.ArgumentTypeError(f"{text!r} is no place; write NAMESPACE/NAME")
    return namespace, name


def _rollouts(arguments: argparse.Namespace, ownership: Ownership) -> ClusterRollouts | None:
    """None where no Service of processors is known, whose endpoints tell what rollouts are judged by."""
    from extproc.kubernetes.allowed_prometheus import AllowedPrometheus
    from extproc.kubernetes.cluster_rollouts import ClusterRollouts
    from extproc.kubernetes.processors import Processors

    try:
        prometheus = AllowedPrometheus(arguments.prometheus)
    except ValueError as error:
        raise SetupError(f"--prometheus is no base URL such as http://prometheus.monitoring:9090: {error}") from None
    meshes = MESHES[arguments.mesh]
    services = processor_services(istio_options(arguments).processors) if "istio" in meshes else []
    if "istio" in meshes and not services:
        log.warning("rollouts are not driven: --processor names no Service")
        return None
    services += [arguments.gateway_name] if "linkerd" in meshes else []
    return ClusterRollouts(Processors(services), ownership.lease, prometheus)


def processor_services(addresses: Sequence[str]) -> list[tuple[str, str]]:
    """Namespaces and names of the Services among the addresses of ``--processor``."""
    found = []
    for address in addresses:
        labels = address.removeprefix("dns:///").rpartition(":")[0].split(".")
        if len(labels) >= 3 and labels[2] == "svc":
            found.append((labels[1], labels[0]))
    return found


def _meshes(arguments: argparse.Namespace, ownership: Ownership) -> list[tuple[MeshWriter, Renderer]]:
    from extproc.kubernetes.mesh_writer import GATEWAY_KINDS, ISTIO, LINKERD, MeshWriter

    at_gateway = dict.fromkeys(GATEWAY_KINDS, arguments.gateway_name[0])
    makers = {
        "istio": lambda: (MeshWriter("istio", ownership, ISTIO), _istio(arguments)),
        "linkerd": lambda: (MeshWriter("linkerd", ownership, LINKERD, at_gateway), _linkerd(arguments)),
    }
    return [makers[mesh]() for mesh in MESHES[arguments.mesh]]


def _istio(arguments: argparse.Namespace) -> Renderer:
    from extproc.render.istio.istio_options import validated
    from extproc.render.istio.manifests import documents

    options = validated(istio_options(arguments))

    def render(snapshot: Snapshot, _: Callable[[], Mapping[str, str]]) -> Sequence[Doc]:
        return documents(snapshot, options)

    return render


def _linkerd(arguments: argparse.Namespace) -> Renderer:
    from linkerd_adapter.gateway import Options
    from linkerd_adapter.manifests import render as render_manifests
    from linkerd_adapter.names import Service

    image = {"image": arguments.image} if arguments.image else {}
    # How many replicas there are is for an autoscaler to say (linkerd-adapter/hpa.yaml), or for who scales by hand.
    options = Options(gateway=Service(*arguments.gateway_name), replicas=None, **image)

    def render(snapshot: Snapshot, texts: Callable[[], Mapping[str, str]]) -> Sequence[Doc]:
        return render_manifests(snapshot, texts(), options).manifests if snapshot.policies else ()

    return render
