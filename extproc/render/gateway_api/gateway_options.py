"""Options of manifests for a gateway of the Gateway API that no policy has; names of Services."""

from __future__ import annotations

import re
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from extproc.errors import SetupError
from extproc.policy.snapshot import Policy
from extproc.render.document import Doc
from extproc.render.envoy.envoy_options import host_port, is_ip

Flavor: TypeAlias = Literal["envoy-gateway", "gke", "kgateway", "plain"]
"""Whose gateway it is; ``plain``: only routes, and the gateway is told of the processor by other means."""
FLAVORS: tuple[Flavor, ...] = get_args(Flavor)
ROUTE_API = "gateway.networking.k8s.io/v1"
PICKER = "aimesh-extproc:9002"
"""Service and port by which InferencePools find the processor, in their own namespace, unless another one is named."""


class Service(msgspec.Struct, frozen=True):
    """A Service of the cluster."""

    namespace: str
    name: str


class GatewayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of one rendering."""

    flavor: Flavor
    gateway: str = "default/gateway"
    """``namespace/name`` of the Gateway, which is there already."""
    gateway_class: str = "gke-l7-regional-external-managed"
    """Of ``gke``: those that are global route before they call an extension."""
    namespace: str = "default"
    """Namespace of policies that name none."""
    hosts: tuple[str, ...] = ()
    """Hosts by which clients call the gateway; empty: any that its listeners take."""
    processor: str = "aimesh-extproc.aimesh-system:50051"
    """``host:port``: a Service; of ``envoy-gateway`` also an address."""

    @property
    def gateway_at(self) -> Service:
        """The Gateway. Raises ``SetupError``."""
        if not re.fullmatch(r"[a-z0-9-]+/[a-z0-9.-]+", self.gateway):
            raise SetupError(f"{self.gateway!r} is no gateway; write --gateway NAMESPACE/NAME")
        return Service(*self.gateway.split("/"))


def namespace(policy: Policy, options: GatewayOptions) -> str:
    """Namespace of the manifests of ``policy``."""
    return policy.namespace or options.namespace


def service_of(host: str, where: str) -> Service | None:
    """The Service that ``host`` means in the namespace ``where``; None: it is none of the cluster's."""
    labels = host.rstrip(".").removesuffix(".cluster.local").removesuffix(".svc").split(".")
    in_cluster = len(labels) == 1 or host.rstrip(".").endswith((".svc", ".svc.cluster.local"))
    if is_ip(host.strip("[]")) or host == "localhost" or len(labels) > 2 or not (in_cluster or len(labels) == 2):
        return None
    return Service(labels[1] if len(labels) > 1 else where, labels[0])


def processor_service(options: GatewayOptions) -> tuple[Service, int]:
    """The processor's Service and its port. Raises ``SetupError`` where it is an address."""
    host, port = host_port(options.processor)
    found = service_of(host, options.gateway_at.namespace)
    if found is None:
        raise SetupError(f"{options.processor!r} is no Service; write --processor NAME.NAMESPACE:PORT")
    return found, port


def manifest(api: str, kind: str, where: Service, **content: Any) -> Doc:
    """A Kubernetes object."""
    labels = {"app.kubernetes.io/managed-by": "extproc"}
    metadata = {"name": where.name, "namespace": where.namespace, "labels": labels}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **content}


def grant(source: tuple[str, str, str], to: Service) -> Doc:
    """A ReferenceGrant: objects ``source`` (group, kind, namespace) may name the Service ``to``."""
    group, kind, origin = source
    return manifest(
        "gateway.networking.k8s.io/v1beta1",
        "ReferenceGrant",
        Service(to.namespace, f"aimesh-{kind.lower()}-{origin}-{to.name}"),
        spec={
            "from": [{"group": group, "kind": kind, "namespace": origin}],
            "to": [{"group": "", "kind": "Service", "name": to.name}],
        },
    )
