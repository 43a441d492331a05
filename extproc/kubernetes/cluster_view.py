"""What serves the policies in a cluster: Services, their endpoints, and Pods. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from extproc.kubernetes.api import Object
from extproc.kubernetes.pool_discovery import Nodes
from extproc.kubernetes.route_weights import Weights, weights_of
from extproc.kubernetes.service_endpoints import SERVICE_NAME, Endpoint, Pods, of_pods, of_slices
from extproc.policy.snapshot import Policy, Version
from extproc.policy.weights_from import WeightsFrom
from extproc.render.istio.istio_options import VERSION_LABEL

Objects = Iterable[Mapping[str, Any]]
Place = tuple[str, str]
"""Namespace and name."""


class ClusterView:
    """Nodes, Services, EndpointSlices, Pods and routes as they are at one moment."""

    def __init__(
        self,
        nodes: Objects = (),
        services: Objects = (),
        slices: Objects = (),
        pods: Objects = (),
        routes: Iterable[Object] = (),
    ) -> None:
        self.nodes = Nodes(nodes)
        self._routes = {(str(route["kind"]), *_place(route)): route for route in routes}
        self._services = {_place(service): service for service in services}
        self._slices: dict[Place, list[Mapping[str, Any]]] = defaultdict(list)
        for one in slices:
            name = (one["metadata"].get("labels") or {}).get(SERVICE_NAME)
            if name:
                self._slices[_place(one)[0], str(name)].append(one)
        self._pods = Pods(pods)

    def service(self, host: str, namespace: str) -> Place | None:
        """The Service that ``host`` means for who is in ``namespace``; None: there is none."""
        return next((place for place in _places(host, namespace) if place in self._services), None)

    def route_weights(self, wanted: WeightsFrom, namespace: str) -> Weights | None:
        """What the route has that a policy in ``namespace`` names; None: it is not there, or has nothing of it."""
        route = self._routes.get((wanted.kind, namespace, wanted.name))
        return weights_of(route, wanted) if route is not None else None

    def of_version(self, policy: Policy, version: Version) -> tuple[Endpoint, ...] | None:
        """The endpoints of a version, whatever state they are in; of a policy without versions its own.

        None: they can't be known, since the policy names addresses, or a host that is no Service. Where the policy's
        Service has no EndpointSlice, the Pods that its selector finds count.
        """
        if version.endpoints:
            return self._named(version.endpoints, policy.namespace)
        found = self._at(policy.host, policy.port, policy.namespace)
        if found is None or not found:
            labels = (*policy.selector, *(((VERSION_LABEL, version.name),) if version.name else ()))
            pods = self._pods.selected(policy.namespace, labels) if policy.selector else ()
            return of_pods(pods, policy.port) or found
        return tuple(e for e in found if not version.name or dict(e.labels).get(VERSION_LABEL) == version.name)

    def _named(self, endpoints: Iterable[str], namespace: str) -> tuple[Endpoint, ...] | None:
        """The endpoints of Services that are named one by one; None where one of them is no Service."""
        found: list[Endpoint] = []
        for endpoint in endpoints:
            host, _, port = endpoint.rpartition(":")
            behind = self._at(host, int(port), namespace)
            if behind is None:
                return None
            found += behind
        return tuple(found)

    def _at(self, host: str, port: int, namespace: str) -> tuple[Endpoint, ...] | None:
        place = self.service(host, namespace)
        if place is None:
            return None
        ports = (self._services[place].get("spec") or {}).get("ports") or ()
        names = [str(each.get("name") or "") for each in ports if each.get("port") == port]
        return of_slices(self._slices[place], names[0], self._pods) if names else ()


def missing_services(view: ClusterView, policy: Policy) -> Iterator[str]:
    """Hosts that are written as Services, and that no Service has: the policy's own, and those of its endpoints."""
    listed = (e for version in policy.versions for e in (*version.endpoints, *version.grpc_endpoints))
    hosts = [policy.host, *(endpoint.rpartition(":")[0] for endpoint in listed)]
    for host in dict.fromkeys(hosts):
        means_service = "." not in host or host.endswith((".svc", ".svc.cluster.local"))
        if means_service and not host.startswith("[") and view.service(host, policy.namespace) is None:
            yield host


def _places(host: str, namespace: str) -> Iterator[Place]:
    """``chat`` is in ``namespace``; ``chat.ai``, ``chat.ai.svc`` and ``chat.ai.svc.cluster.local`` say theirs."""
    parts = host.rstrip(".").split(".")
    if len(parts) == 1:
        yield namespace, host
    elif len(parts) == 2 or parts[2] == "svc":
        yield parts[1], parts[0]


def _place(one: Mapping[str, Any]) -> Place:
    metadata = one["metadata"]
    return str(metadata.get("namespace") or "default"), str(metadata["name"])
