"""InferencePools and the HTTPRoutes to them: pickers that are not asked, or not found

What istiod does is as of its sources of 2026-08-27, with `ENABLE_GATEWAY_API_INFERENCE_EXTENSION=true`.
"""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.envoy_filter_clusters import declares_grpc
from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Resource, Value
from extproc.lint.mesh import Mesh

TWO_BACKENDS = Rule(
    "AIM801",
    "error",
    "an InferencePool that shares a rule with another backend",
    "Istio asks the picker of one of them, the last one's, and lets weights choose among all: requests reach servers "
    "that nobody has picked (istio/istio#61594).",
    "give each pool a rule of its own, or make one pool of them, whose picker then chooses the version as well",
)
PICKER_ELSEWHERE = Rule(
    "AIM802",
    "error",
    "a picker that is in another namespace than its pool",
    "`endpointPickerRef` has no namespace: Istio looks for the Service beside the pool, and finds none.",
    "install the processor in the namespace of the pool",
)
PICKER_NOT_GRPC = Rule(
    "AIM803",
    "error",
    "a picker whose port is not there, or is not declared as gRPC",
    "Istio calls it by its Service: with HTTP/1.1 where the port does not say otherwise, and gRPC needs HTTP/2.",
    "name a port of the Service, and give that appProtocol: kubernetes.io/h2c",
)
OLD_POOL = Rule(
    "AIM804",
    "error",
    "an InferencePool of an API that Istio does not read",
    "Istio reads `inference.networking.k8s.io/v1` only; routes to this pool get 500.",
    "write apiVersion: inference.networking.k8s.io/v1, with targetPorts and endpointPickerRef",
)
FORGOTTEN_PICKER = Rule(
    "AIM805",
    "error",
    "CORS in a rule with an InferencePool",
    "istiod sets the filters of such a route anew and forgets the picker: requests go to any pod of the pool.",
    "answer for CORS elsewhere, as in the model server",
)
RULES = (TWO_BACKENDS, PICKER_ELSEWHERE, PICKER_NOT_GRPC, OLD_POOL, FORGOTTEN_PICKER)

POOL_GROUP, OLD_GROUP = "inference.networking.k8s.io", "inference.networking.x-k8s.io"


def check(mesh: Mesh) -> Iterator[Finding]:
    """Every pool, and every rule that leads to one."""
    for pool in mesh.of("InferencePool"):
        if pool.group == OLD_GROUP:
            yield pool.root.at("apiVersion").breaks(OLD_POOL)
        elif pool.group == POOL_GROUP:
            yield from _picker(pool, mesh)
    for route in mesh.of("HTTPRoute"):
        for rule in route.spec.at("rules").items:
            backends = [ref for ref in rule.at("backendRefs").items if ref.at("weight").text != "0"]
            pools = [ref for ref in backends if _is_pool(ref)]
            if pools and len(backends) > 1:
                yield pools[0].breaks(TWO_BACKENDS)
            for filter_ in rule.at("filters").items if pools else ():
                if filter_.at("type").text == "CORS":
                    yield filter_.breaks(FORGOTTEN_PICKER)


def _is_pool(backend: Value) -> bool:
    return (backend.at("group").text, backend.at("kind").text) == (POOL_GROUP, "InferencePool")


def _picker(pool: Resource, mesh: Mesh) -> Iterator[Finding]:
    place = pool.spec.at("endpointPickerRef")
    name = place.at("name").text
    named = [service for service in mesh.of("Service") if service.name == name]
    service = next((each for each in named if each.namespace == pool.namespace), None)
    if service is None:
        for other in (each for each in named[:1] if each.root.at("metadata", "namespace")):
            where = f"{other.namespace} ({other.location})"
            yield place.at("name").breaks(PICKER_ELSEWHERE, f"{name} is in {where}, the pool in {pool.namespace}")
        return
    number = place.at("port", "number")
    port = next((each for each in service.spec.at("ports").items if each.at("port").text == number.text), None)
    if port is None:
        yield number.breaks(PICKER_NOT_GRPC, f"{name} ({service.location}) has no port {number.text}")
    elif not declares_grpc(port):
        yield number.breaks(PICKER_NOT_GRPC, f"the port of {name} ({service.location}) is not declared as gRPC")
