"""What a cluster has where models are served: Services, Pods with addresses, EndpointSlices.

Written by hand, as controllers and a kubelet would have: none of them runs here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from tests.kubernetes.control_plane import ControlPlane

MODELS, INGRESS, PROCESSORS = "models", "ingress", "processors"
"""Namespaces: of clients, model servers and policies; of the gateway; of processors."""
POOLS = {"west": "NVIDIA-A100-SXM4-80GB", "east": "NVIDIA-H100-80GB-HBM3"}
"""Pools and their GPUs."""
HOST = "llm.example.com"
"""By which clients call the gateway."""
ANY_MODEL = "10.96.1.1"
"""Cluster address of the first Service."""


class Pod(NamedTuple):
    """A model server: what it is, and the address at whose port 8080 it answers."""

    service: str
    version: str
    pool: str
    address: str

    @property
    def name(self) -> str:
        return f"{self.service}-{self.version}-{self.pool}"


class Service(NamedTuple):
    name: str
    address: str

    @property
    def host(self) -> str:
        return f"{self.name}.{MODELS}.svc.cluster.local"


SERVICES = (Service("chat", ANY_MODEL), Service("code", "10.96.1.2"))
VERSIONS = ("v1", "v2", "v3")
PODS = tuple(
    Pod(service.name, version, pool, f"10.77.2.{1 + at * 6 + number * 2 + place}")
    for at, service in enumerate(SERVICES)
    for number, version in enumerate(VERSIONS)
    for place, pool in enumerate(POOLS)
)
PROCESSOR = f"aimesh-extproc.{PROCESSORS}.svc.cluster.local:50051"
PROCESSOR_ADDRESSES = ("10.77.4.1", "10.77.4.2")
CLIENT, GATEWAY = "10.77.1.1", "10.77.1.2"
"""Addresses of the pods whose proxies are Envoys."""
ADDRESSES = (*(pod.address for pod in PODS), *PROCESSOR_ADDRESSES, CLIENT, GATEWAY)


_HTTP = MappingProxyType({"name": "http", "port": 8080, "protocol": "TCP"})


def _object(api_version: str, kind: str, namespace: str, name: str, **more: Any) -> dict[str, Any]:
    labels = more.pop("labels", {})
    metadata = {"name": name, "labels": labels} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **more}


def _pod(namespace: str, name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    spec = {"nodeName": "node", "containers": [{"name": "main", "image": "none"}]}
    return _object("v1", "Pod", namespace, name, labels=dict(labels), spec=spec)


def _service(
    namespace: str,
    name: str,
    address: str,
    port: Mapping[str, Any],
    labels: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    spec = {"clusterIP": address, "ports": [dict(port)]}
    return _object("v1", "Service", namespace, name, labels=dict(labels), spec=spec)


def endpoint_slice(
    namespace: str, service: str, port: Mapping[str, Any], members: Iterable[tuple[str, str]]
) -> dict[str, Any]:
    """What Kubernetes' controllers would make of a Service; ``members``: names and addresses of its Pods."""
    endpoints = [
        {
            "addresses": [address],
            "conditions": {"ready": True, "serving": True},
            "targetRef": {"kind": "Pod", "namespace": namespace, "name": name},
        }
        for name, address in members
    ]
    labels = {"kubernetes.io/service-name": service}
    more = {"addressType": "IPv4", "ports": [dict(port)], "endpoints": endpoints}
    return _object("discovery.k8s.io/v1", "EndpointSlice", namespace, f"{service}-1", labels=labels, **more)


def _runs(control_plane: ControlPlane, namespace: str, name: str, address: str) -> None:
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
    patch = {"status": status | {"conditions": [{"type": "Ready", "status": "True"}]}}
    control_plane.kubectl(
        *("patch", "pod", name, "-n", namespace, "--subresource=status", "--type=merge", "-p", json.dumps(patch))
    )


def fill(control_plane: ControlPlane) -> None:
    """Applies all of it, and what a mesh needs without certificates and with Envoys that have no filters of Istio's."""
    namespaces = [_object("v1", "Namespace", "", name) for name in (MODELS, INGRESS, PROCESSORS)]
    control_plane.apply(*namespaces)
    # The admission of pods wants one; a controller makes it elsewhere.
    control_plane.apply(*(_object("v1", "ServiceAccount", each["metadata"]["name"], "default") for each in namespaces))
    http = _HTTP
    grpc = {"name": "grpc", "port": 50051, "protocol": "TCP", "appProtocol": "grpc"}
    processors = [(f"processor-{n}", address) for n, address in enumerate(PROCESSOR_ADDRESSES)]
    control_plane.apply(
        *(_service(MODELS, service.name, service.address, http) for service in SERVICES),
        *(_pod(MODELS, pod.name, {"version": pod.version, "ai.istio.io/gpu-pool": pod.pool}) for pod in PODS),
        *(
            endpoint_slice(MODELS, service.name, http, ((p.name, p.address) for p in PODS if p.service == service.name))
            for service in SERVICES
        ),
        _service(PROCESSORS, "aimesh-extproc", "10.96.2.1", grpc),
        *(_pod(PROCESSORS, name, {"app": "aimesh-extproc"}) for name, _ in processors),
        endpoint_slice(PROCESSORS, "aimesh-extproc", grpc, processors),
        _pod(MODELS, "client-0", {"app": "client"}),
        _pod(INGRESS, "gateway-0", {"istio": "ingressgateway"}),
        *_MESH,
    )
    alive = [(MODELS, pod.name, pod.address) for pod in PODS]
    alive += [(PROCESSORS, name, address) for name, address in processors]
    for namespace, name, address in (*alive, (MODELS, "client-0", CLIENT), (INGRESS, "gateway-0", GATEWAY)):
        _runs(control_plane, namespace, name, address)


def workload(
    control_plane: ControlPlane,
    namespace: str,
    name: str,
    service_address: str,
    *addresses: str,
    port: Mapping[str, Any] = _HTTP,
    labels: Mapping[str, str] = MappingProxyType({}),
    pod_labels: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """A Service of Pods, one at each of ``addresses``, of the versions v1, v2, …, in a namespace that is there.

    ``labels``: of the Service; ``pod_labels``: more, of each Pod.
    """
    members = [(f"{name}-{number}", address) for number, address in enumerate(addresses)]
    control_plane.apply(_object("v1", "ServiceAccount", namespace, "default"))
    control_plane.apply(
        _service(namespace, name, service_address, port, labels),
        *(
            _pod(namespace, pod, {"app": name, "version": f"v{number}", **pod_labels})
            for number, (pod, _) in enumerate(members, 1)
        ),
        endpoint_slice(namespace, name, port, members),
    )
    for pod, address in members:
        _runs(control_plane, namespace, pod, address)


def without(applies_to: str, **listener_filter: Any) -> dict[str, Any]:
    """A patch that removes a filter of Istio's own, which the Envoy of this test does not have."""
    listener = {"filterChain": {"filter": listener_filter}}
    return {
        "applyTo": applies_to,
        "match": {"context": "ANY", "listener": listener},
        "patch": {"operation": "REMOVE"},
    }


CONNECTION_MANAGER = "envoy.filters.network.http_connection_manager"
_SERVER = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
_TO_ANY = {"destination": {"host": SERVICES[0].host, "port": {"number": 8080}}}
_MESH = (
    # Whatever no policy routes at the gateway is answered as well: a deleted policy is no 404.
    _object(
        "networking.istio.io/v1",
        "VirtualService",
        MODELS,
        "any",
        spec={"hosts": ["*"], "gateways": [f"{INGRESS}/gateway"], "http": [{"route": [_TO_ANY]}]},
    ),
    _object(
        "networking.istio.io/v1",
        "Gateway",
        INGRESS,
        "gateway",
        spec={"selector": {"istio": "ingressgateway"}, "servers": [_SERVER]},
    ),
    _object(
        "networking.istio.io/v1alpha3",
        "EnvoyFilter",
        "istio-system",
        "plain-envoy",
        spec={
            "priority": -10,
            "configPatches": [
                without("HTTP_FILTER", name=CONNECTION_MANAGER, subFilter={"name": "istio.stats"}),
                without("NETWORK_FILTER", name="istio.stats"),
            ],
        },
    ),
    # No agent brings certificates: the sidecar's inbound listener must not wait for any.
    _object(
        "security.istio.io/v1",
        "PeerAuthentication",
        "istio-system",
        "default",
        spec={"mtls": {"mode": "DISABLE"}},
    ),
)
