"""Services: the apexes, and one behind them for each place where a version is served. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from extproc.render.document import Doc
from linkerd_adapter.names import Service, label, parse_address
from linkerd_adapter.plan import Addresses, Apex, Backend, Plan, Pods

MANAGER = "linkerd-adapter"
PORT = "http"
"""Name of the one port of each Service."""

MODE = "balancer.linkerd.io/failure-accrual"
CIRCUIT_BREAKER = {
    # What the rendered Envoy does where it sees the servers itself: five failures in a row, then a rest.
    MODE: "consecutive",
    f"{MODE}-consecutive-max-failures": "5",
    f"{MODE}-consecutive-min-penalty": "10s",
    f"{MODE}-consecutive-max-penalty": "120s",
}
"""Annotations for circuit breaking. On the apex: a route's backends take the parent Service's configuration."""


def services(plan: Plan, apex: Apex, target_port: int | str | None, app_protocol: str | None) -> Iterator[Doc]:
    """The apex, where it is ours to declare, and every Service of ours behind it.

    ``target_port``: on which the pods listen; None: the policy's own port. ``app_protocol``: ``http`` or
    ``kubernetes.io/h2c``. None: none is written, and Linkerd looks at what comes: the gateway speaks first, HTTP/1.1
    and for gRPC HTTP/2. Any other makes Linkerd treat the port as opaque TCP, without routes.
    """
    port: Doc = {"name": PORT, "port": apex.port, "targetPort": apex.port if target_port is None else target_port}
    if app_protocol:
        port["appProtocol"] = app_protocol
    if plan.declares(apex):
        yield _service(apex.service, port, dict(apex.labels), CIRCUIT_BREAKER if has_circuit_breaker(apex) else {})
    done = set()
    for policy in apex.policies:
        for place in plan.places[policy.name]:
            for backend in place.all_backends:
                if backend.behind is not None and backend.service not in done:
                    done.add(backend.service)
                    yield from _backend_manifests(backend, port)


def has_circuit_breaker(apex: Apex) -> bool:
    """Whether its policies ask for circuit breaking: all have a retry budget."""
    return all(policy.retry_budget for policy in apex.policies)


def _backend_manifests(backend: Backend, port: Doc) -> Iterator[Doc]:
    if isinstance(backend.behind, Pods):
        yield _service(backend.service, port, dict(backend.behind.labels), {})
    elif isinstance(backend.behind, Addresses):
        # By its name, since Linkerd takes a number as it stands and would not look into the slices.
        yield _service(backend.service, port | {"targetPort": PORT}, {}, {})
        yield from _slices(backend.service, backend.behind)


def _service(service: Service, port: Doc, selector: Doc, annotations: Doc) -> Doc:
    metadata = {"name": service.name, "namespace": service.namespace}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata | ({"annotations": annotations} if annotations else {}),
        "spec": ({"selector": selector} if selector else {}) | {"ports": [port]},
    }


def _slices(service: Service, behind: Addresses) -> Iterator[Doc]:
    """One for each family of addresses and port."""

    def kind(endpoint: tuple[str, int]) -> tuple[str, int]:
        found = parse_address(endpoint[0])
        return f"IPv{found.version if found else 4}", endpoint[1]

    for (family, port), endpoints in groupby(sorted(behind.endpoints, key=kind), kind):
        yield {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": label(service.name, family.lower(), str(port)),
                "namespace": service.namespace,
                "labels": {
                    "kubernetes.io/service-name": service.name,
                    "endpointslice.kubernetes.io/managed-by": MANAGER,
                },
            },
            "addressType": family,
            "ports": [{"name": PORT, "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [host], "conditions": {"ready": True}} for host, _ in endpoints],
        }
