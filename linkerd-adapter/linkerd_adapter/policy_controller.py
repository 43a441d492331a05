"""What Linkerd's policy controller makes of resources: which routes count at a parent, and why others don't. Pure.

From linkerd2's ``policy-controller/k8s/index/src/outbound``. A route that it can't convert is not rejected: it is
logged and left out, while the status goes on to say ``Accepted``. What becomes of requests where no HTTPRoute counts
was seen on linkerd2-proxy v2.366.0 with the controllers of edge-26.8.3.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal, TypeVar

import msgspec

from linkerd_adapter import resources as k8s
from linkerd_adapter import route_selection, unconvertible_rules
from linkerd_adapter.lint.annotation_values import KNOWN, RETRY, TIMEOUT
from linkerd_adapter.names import Service

CONVERTED = unconvertible_rules.FILTERS
"""Filters that Linkerd knows."""
OPAQUE = "25,587,3306,4444,5432,6379,9300,11211"
"""Ports that are opaque where a Service has no annotation that says which."""
HTTP = ("http", "kubernetes.io/h2c")
"""Values of ``appProtocol`` that keep a port from being opaque."""
_GATEWAY, _LINKERD = "gateway.networking.k8s.io", "policy.linkerd.io"

R = TypeVar("R", k8s.Route, k8s.GrpcRoute, k8s.Service, k8s.ServiceProfile, k8s.EndpointSlice)


class Ignored(msgspec.Struct, frozen=True):
    """A resource that does not count, and why."""

    name: str
    why: str


class Off(msgspec.Struct, frozen=True):
    """Why no HTTPRoute counts at a parent, and what becomes of its requests."""

    why: str
    outcome: Literal["passed", "reset", "unreachable", "elsewhere"] = "passed"
    """Passed on to any pod; reset; not sent, since there is no address; or decided by something else than routes."""


class Cluster:
    """The resources of a cluster, or of a rendering (``live``: whether a controller has seen them)."""

    def __init__(self, resources: Iterable[Any], *, live: bool) -> None:
        self.unreadable: list[Ignored] = []
        self._live = live
        trees = [r for r in resources if isinstance(r, dict)]
        self._routes = self._read(trees, k8s.Route, "HTTPRoute", (_GATEWAY, _LINKERD))
        self._grpc = self._read(trees, k8s.GrpcRoute, "GRPCRoute", (_GATEWAY,))
        services = self._read(trees, k8s.Service, "Service", ("",))
        self._services = {Service(s.metadata.namespace, s.metadata.name): s for s in services}
        self._known = {service.namespace for service in self._services} if live else set()
        self._profiles = self._read(trees, k8s.ServiceProfile, "ServiceProfile", ("linkerd.io",))
        self._ready = self._endpoints(self._read(trees, k8s.EndpointSlice, "EndpointSlice", ("discovery.k8s.io",)))

    def routes(self, parent: Service, port: int, client: str) -> tuple[list[route_selection.Route], list[Ignored]]:
        """The routes that count for requests from the namespace ``client``, as they are tried; and those left out."""
        found: list[route_selection.Route] = []
        ignored: list[Ignored] = []
        for route in self._routes:
            ref = _ref(route, parent, port)
            if ref is None:
                continue
            name = f"{route.metadata.name}.{route.metadata.namespace}"
            why = _not_a_parent(ref) or self._unaccepted(route, parent, port)
            if not why and route.metadata.namespace not in (parent.namespace, client):
                why = f"it is a consumer route: it holds for clients in its own namespace, and this one is in {client}"
            if not why:
                try:
                    found.append(self._converted(route, parent))
                except route_selection.UnreadError as error:
                    why = f"nothing can be told of it here, and so nothing for sure of this request: {error}"
                except ValueError as error:
                    why = f"Linkerd can't convert it, and keeps what it was before its last change: {error}"
            if why:
                ignored.append(Ignored(name, why))
        return route_selection.in_order(found), ignored

    def off(self, parent: Service, port: int, client: str, *, grpc: bool = False) -> Off | None:
        """Why no HTTPRoute counts at this parent for requests from the namespace ``client``; None where they do."""
        service = self._services.get(parent)
        if missing := self._missing(parent):
            return Off(missing, "unreachable")
        unseen = self._unseen(parent, service, port) if service else None
        return unseen or self._profiled(parent, client) or self._beside_grpc(parent, port, grpc=grpc)

    def _unseen(self, parent: Service, service: k8s.Service, port: int) -> Off | None:
        """Why Linkerd sees no requests on this port of the Service."""
        if service.spec.type == "ExternalName":
            return Off(f"the Service {parent} is another name for a host outside, without a ClusterIP", "elsewhere")
        if service.spec.clusterIP == "None":
            return Off(f"the Service {parent} has no ClusterIP, by which Linkerd would know it")
        own = next((p for p in service.spec.ports if p.port == port), None)
        if own is None:
            return Off(f"the Service {parent} has no port {port}", "reset")
        protocol = (own.appProtocol or "").lower()
        if protocol and protocol not in HTTP:
            return Off(f"appProtocol {own.appProtocol} makes Linkerd treat the port as opaque TCP, without routes")
        opaque = (service.metadata.annotations or {}).get("config.linkerd.io/opaque-ports")
        if _names_port(OPAQUE if opaque is None else opaque, port):
            who = "Linkerd's default" if opaque is None else f"config.linkerd.io/opaque-ports of {parent}"
            if protocol:
                return Off(f"{who} has the port {port} opaque, and appProtocol {own.appProtocol} says HTTP", "reset")
            return Off(f"{who} has the port {port} opaque, without routes")
        return None

    def _profiled(self, parent: Service, client: str) -> Off | None:
        """Only profiles in the namespaces of the client and of the Service count, the client's first."""
        for namespace in dict.fromkeys((client, parent.namespace)):
            for profile in self._profiles:
                named = profile.metadata.name.startswith(f"{parent.name}.{parent.namespace}.svc.")
                if not named or profile.metadata.namespace != namespace:
                    continue
                name = f"the ServiceProfile {profile.metadata.name} in {namespace}"
                if profile.spec.dstOverrides:
                    return Off(f"the dstOverrides of {name} decide instead of HTTPRoutes", "elsewhere")
                if profile.spec.routes:
                    return Off(f"{name} decides instead of HTTPRoutes")
        return None

    def _beside_grpc(self, parent: Service, port: int, *, grpc: bool) -> Off | None:
        for route in self._grpc:
            ref = _ref(route, parent, port)
            if ref and not _not_a_parent(ref) and not self._unaccepted(route, parent, port):
                why = f"the GRPCRoute {route.metadata.name} has the same parent, and then HTTPRoutes don't count"
                return Off(why, "elsewhere" if grpc else "reset")
        return None

    def http2_only(self, parent: Service, port: int) -> bool:
        """Whether the proxy resets HTTP/1.1 on this port."""
        service = self._services.get(parent)
        protocols = [p.appProtocol or "" for p in service.spec.ports if p.port == port] if service else []
        return any(protocol.lower() == "kubernetes.io/h2c" for protocol in protocols)

    def available(self, backend: route_selection.Backend) -> bool:
        """Whether some endpoint of the backend is ready; what is not known to be otherwise is."""
        ready = self._ready.get(backend.namespace)
        return ready is None or backend.name in ready

    def _missing(self, service: Service) -> str:
        """That there is no such Service; empty where there is, or where nobody told of its namespace."""
        told = service.namespace in self._known and service not in self._services
        return f"there is no Service {service}" if told else ""

    def _read(self, trees: list[dict[str, Any]], kind: type[R], name: str, groups: tuple[str, ...]) -> list[R]:
        found: list[R] = []
        for tree in trees:
            group = str(tree.get("apiVersion")).rpartition("/")[0]
            if tree.get("kind") != name or group not in groups:
                continue
            try:
                found.append(msgspec.convert(_plain(tree), kind))
            except msgspec.ValidationError as error:
                metadata = tree.get("metadata")
                who = metadata.get("name") if isinstance(metadata, dict) else None
                self.unreadable.append(Ignored(f"{name} {who}", str(error)))
        return found

    def _endpoints(self, slices: list[k8s.EndpointSlice]) -> dict[str, set[str]]:
        """The Services with a ready endpoint in each namespace of which endpoints are told. A rendering has no pods."""
        found: dict[str, set[str]] = {}
        for one in slices if self._live else ():
            names = found.setdefault(one.metadata.namespace, set())
            if any(endpoint.conditions.ready is not False for endpoint in one.endpoints or ()):
                names.add((one.metadata.labels or {}).get("kubernetes.io/service-name", ""))
        return found

    def _unaccepted(self, route: k8s.Route | k8s.GrpcRoute, parent: Service, port: int) -> str:
        """Why its status keeps it from counting. Whose word a status is and in which namespace does not matter."""
        if not self._live:
            return ""
        reasons = []
        for status in route.status.parents if route.status else ():
            ref = status.parentRef
            if _not_a_parent(ref) or ref.name != parent.name or ref.port not in (None, port):
                continue
            accepted = next((c for c in status.conditions if c.type == "Accepted"), None)
            if accepted and accepted.status == "True":
                return ""
            reasons.append(accepted.reason if accepted else "it says nothing of it")
        return f"it is not accepted: {reasons[0]}" if reasons else "its status has no word of this parent"

    def _converted(self, route: k8s.Route, parent: Service) -> route_selection.Route:
        """Raises ``ValueError`` for what Linkerd can't convert."""
        meta, spec = route.metadata, route.spec
        for name, text in (meta.annotations or {}).items():
            if name in _READ and not KNOWN[name][0](text):
                raise ValueError(f"its annotation {name} can't be read: {text!r}, where it takes {KNOWN[name][1]}")
        rules = tuple(self._rule(rule, parent) for rule in spec.rules)
        return route_selection.Route(meta.namespace, meta.name, rules, tuple(spec.hostnames), meta.creationTimestamp)

    def _rule(self, rule: k8s.RouteRule, parent: Service) -> route_selection.Rule:
        parts = (
            *map(unconvertible_rules.unfit_filter, rule.filters),
            *map(unconvertible_rules.unfit_match, rule.matches),
        )
        if unfit := next(filter(None, parts), ""):
            raise ValueError(unfit)
        redirect = any(f.type == "RequestRedirect" for f in rule.filters)
        backends = tuple(self._backend(ref, parent) for ref in rule.backendRefs)
        return route_selection.Rule(tuple(map(_match, rule.matches)), backends, redirect)

    def _backend(self, ref: k8s.BackendRef, parent: Service) -> route_selection.Backend:
        service = Service(ref.namespace or parent.namespace, ref.name)
        broken, status = "", 500
        if not _is_service(ref):
            broken = f"{ref.kind} is no Service"
        elif not ref.port:
            broken = "it names no port"
        elif missing := self._missing(service):
            broken = missing
        elif unfit := next(filter(None, map(unconvertible_rules.unfit_filter, ref.filters)), ""):
            broken = f"Linkerd can't convert it: {unfit}"
        elif known := self._services.get(service):
            broken, status = _undialled(known, ref.port)
        return route_selection.Backend(service.namespace, service.name, ref.port or 0, ref.weight, broken, status)


_READ = (
    TIMEOUT + "request",
    TIMEOUT + "response",
    TIMEOUT + "idle",
    *(RETRY + n for n in ("http", "limit", "timeout")),
)
"""Annotations of an HTTPRoute that void it where they can't be read."""


def _undialled(service: k8s.Service, port: int) -> tuple[str, int]:
    """Why requests to this port of a backend fail, and with which status; an empty text where they don't."""
    if service.spec.type == "ExternalName":
        return f"the Service {service.metadata.name} is of type ExternalName", 500
    ports = service.spec.ports
    if not ports or any(port in (own.port, own.targetPort) for own in ports):
        return "", 500  # of a port that it lacks the proxy dials the pods on that very number
    return f"the Service {service.metadata.name} has no port {port}, and its pods are dialled on that number", 502


def _ref(route: k8s.Route | k8s.GrpcRoute, parent: Service, port: int) -> k8s.ParentRef | None:
    """How the route names ``parent``, if it does; without a port it means every one.

    Of several, one that means a Service: a Gateway may have the same name.
    """
    found = [
        ref
        for ref in route.spec.parentRefs
        if (ref.namespace or route.metadata.namespace, ref.name) == (parent.namespace, parent.name)
        and ref.port in (None, port)
    ]
    return next((ref for ref in found if not _not_a_parent(ref)), found[0] if found else None)


def _is_service(ref: k8s.ParentRef | k8s.BackendRef) -> bool:
    """Linkerd compares without regard to case."""
    return ref.kind.lower() == "service" and ref.group.lower() in ("", "core")


def _not_a_parent(ref: k8s.ParentRef) -> str:
    if _is_service(ref):
        return ""
    return f"its parentRef means a {ref.kind} of {ref.group or 'core'}: write kind: Service and group: core"


def _match(match: k8s.RouteMatch) -> route_selection.Match:
    path = route_selection.Path(match.path.type, match.path.value) if match.path else None
    if path and path.kind == "RegularExpression":
        route_selection.compiled(path.value)
    return route_selection.Match(path, _values(match.headers), _values(match.queryParams), match.method or "")


def _values(values: list[k8s.Value]) -> tuple[route_selection.Value, ...]:
    for value in values:
        if value.type == "RegularExpression":
            route_selection.compiled(value.value)
    return tuple(route_selection.Value(v.name, v.value, v.type == "RegularExpression") for v in values)


def _names_port(ports: str, port: int) -> bool:
    """Whether ``3306,8000-8080`` names it."""
    for part in ports.split(","):
        first, _, last = part.strip().partition("-")
        if first.isdecimal() and int(first) <= port <= int(last if last.isdecimal() else first):
            return True
    return False


def _plain(value: Any) -> Any:
    """Without nulls, which Kubernetes takes for fields that are not there; YAML's timestamps as the API's texts."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    return [_plain(v) for v in value] if isinstance(value, list) else value
