"""A model of Linkerd's policy controller: which HTTPRoutes are in force at a parent, and why others are not. Pure.

Source: linkerd2, ``policy-controller/k8s/index/src/outbound``. A route that the controller can't convert is not
rejected: it is logged and left out, while its status still says ``Accepted``. What happens to requests where no
HTTPRoute is in force was observed on linkerd2-proxy v2.366.0 with the controllers of edge-26.8.3.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal, TypeVar

import msgspec

from linkerd_adapter import resources as k8s
from linkerd_adapter import route_selection, unconvertible_rules
from linkerd_adapter.lint.linkerd_annotations import ANNOTATIONS, DEFAULT_OPAQUE_PORTS, RETRY, TIMEOUT, names_port
from linkerd_adapter.names import Service

HTTP_PROTOCOLS = ("http", "kubernetes.io/h2c")
"""Values of ``appProtocol`` with which a port is not opaque."""
_GATEWAY, _LINKERD = "gateway.networking.k8s.io", "policy.linkerd.io"

R = TypeVar("R", k8s.Route, k8s.GrpcRoute, k8s.Service, k8s.ServiceProfile, k8s.EndpointSlice)


class IgnoredResource(msgspec.Struct, frozen=True):
    """A resource that is not in force, and why."""

    name: str
    why: str


class RoutesDisabled(msgspec.Struct, frozen=True):
    """Why no HTTPRoute is in force at a parent, and what happens to its requests."""

    why: str
    outcome: Literal["passed", "reset", "unreachable", "elsewhere"] = "passed"
    """``passed``: on to any pod of the parent; ``reset``: the connection is reset; ``unreachable``: there is no address
    to dial; ``elsewhere``: another resource than HTTPRoutes decides."""


class Cluster:
    """Resources as Linkerd's policy controller indexes them.

    ``live``: they come from a cluster, so that status, endpoints and missing Services are judged; False: they are a
    rendering that no controller has seen yet. Resources that can't be parsed are listed in ``unreadable``.
    """

    def __init__(self, resources: Iterable[Any], *, live: bool) -> None:
        self.unreadable: list[IgnoredResource] = []
        self._live = live
        trees = [r for r in resources if isinstance(r, dict)]
        self._routes = self._read(trees, k8s.Route, "HTTPRoute", (_GATEWAY, _LINKERD))
        self._grpc = self._read(trees, k8s.GrpcRoute, "GRPCRoute", (_GATEWAY,))
        services = self._read(trees, k8s.Service, "Service", ("",))
        self._services = {Service(s.metadata.namespace, s.metadata.name): s for s in services}
        self._known = {service.namespace for service in self._services} if live else set()
        self._profiles = self._read(trees, k8s.ServiceProfile, "ServiceProfile", ("linkerd.io",))
        self._ready = self._endpoints(self._read(trees, k8s.EndpointSlice, "EndpointSlice", ("discovery.k8s.io",)))

    def routes(
        self, parent: Service, port: int, client: str
    ) -> tuple[list[route_selection.Route], list[IgnoredResource]]:
        """The routes in force for requests from the namespace ``client``, by precedence; and those that are not."""
        found: list[route_selection.Route] = []
        ignored: list[IgnoredResource] = []
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
                ignored.append(IgnoredResource(name, why))
        return route_selection.by_precedence(found), ignored

    def routes_disabled(self, parent: Service, port: int, client: str, *, grpc: bool = False) -> RoutesDisabled | None:
        """Why no HTTPRoute is in force at this parent for clients in ``client``; None where some may be."""
        service = self._services.get(parent)
        if missing := self._missing(parent):
            return RoutesDisabled(missing, "unreachable")
        not_http = self._not_http(parent, service, port) if service else None
        return not_http or self._profile_in_force(parent, client) or self._grpc_route_in_force(parent, port, grpc=grpc)

    def _not_http(self, parent: Service, service: k8s.Service, port: int) -> RoutesDisabled | None:
        """Why Linkerd sees no HTTP requests on this port of the Service."""
        if service.spec.type == "ExternalName":
            return RoutesDisabled(
                f"the Service {parent} is another name for a host outside, without a ClusterIP", "elsewhere"
            )
        if service.spec.clusterIP == "None":
            return RoutesDisabled(f"the Service {parent} has no ClusterIP, by which Linkerd would know it")
        own = next((p for p in service.spec.ports if p.port == port), None)
        if own is None:
            return RoutesDisabled(f"the Service {parent} has no port {port}", "reset")
        protocol = (own.appProtocol or "").lower()
        if protocol and protocol not in HTTP_PROTOCOLS:
            return RoutesDisabled(
                f"appProtocol {own.appProtocol} makes Linkerd treat the port as opaque TCP, without routes"
            )
        opaque = (service.metadata.annotations or {}).get("config.linkerd.io/opaque-ports")
        if names_port(DEFAULT_OPAQUE_PORTS if opaque is None else opaque, port):
            who = "Linkerd's default" if opaque is None else f"config.linkerd.io/opaque-ports of {parent}"
            if protocol:
                return RoutesDisabled(
                    f"{who} has the port {port} opaque, and appProtocol {own.appProtocol} says HTTP", "reset"
                )
            return RoutesDisabled(f"{who} has the port {port} opaque, without routes")
        return None

    def _profile_in_force(self, parent: Service, client: str) -> RoutesDisabled | None:
        """Profiles are looked up in the client's namespace, then in the Service's."""
        for namespace in dict.fromkeys((client, parent.namespace)):
            for profile in self._profiles:
                named = profile.metadata.name.startswith(f"{parent.name}.{parent.namespace}.svc.")
                if not named or profile.metadata.namespace != namespace:
                    continue
                name = f"the ServiceProfile {profile.metadata.name} in {namespace}"
                if profile.spec.dstOverrides:
                    return RoutesDisabled(f"the dstOverrides of {name} decide instead of HTTPRoutes", "elsewhere")
                if profile.spec.routes:
                    return RoutesDisabled(f"{name} decides instead of HTTPRoutes")
        return None

    def _grpc_route_in_force(self, parent: Service, port: int, *, grpc: bool) -> RoutesDisabled | None:
        for route in self._grpc:
            ref = _ref(route, parent, port)
            if ref and not _not_a_parent(ref) and not self._unaccepted(route, parent, port):
                why = f"the GRPCRoute {route.metadata.name} has the same parent, and then HTTPRoutes don't count"
                return RoutesDisabled(why, "elsewhere" if grpc else "reset")
        return None

    def http2_only(self, parent: Service, port: int) -> bool:
        """Whether the proxy resets HTTP/1.1 on this port."""
        service = self._services.get(parent)
        protocols = [p.appProtocol or "" for p in service.spec.ports if p.port == port] if service else []
        return any(protocol.lower() == "kubernetes.io/h2c" for protocol in protocols)

    def available(self, backend: route_selection.Backend) -> bool:
        """Whether some endpoint of the backend is ready; True where no EndpointSlice of its namespace is known."""
        ready = self._ready.get(backend.namespace)
        return ready is None or backend.name in ready

    def _missing(self, service: Service) -> str:
        """The message that there is no such Service; empty where it exists or nothing of its namespace is known."""
        missing = service.namespace in self._known and service not in self._services
        return f"there is no Service {service}" if missing else ""

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
                self.unreadable.append(IgnoredResource(f"{name} {who}", str(error)))
        return found

    def _endpoints(self, slices: list[k8s.EndpointSlice]) -> dict[str, set[str]]:
        """Per namespace with EndpointSlices, the Services with a ready endpoint; empty for a rendering."""
        found: dict[str, set[str]] = {}
        for one in slices if self._live else ():
            names = found.setdefault(one.metadata.namespace, set())
            if any(endpoint.conditions.ready is not False for endpoint in one.endpoints or ()):
                names.add((one.metadata.labels or {}).get("kubernetes.io/service-name", ""))
        return found

    def _unaccepted(self, route: k8s.Route | k8s.GrpcRoute, parent: Service, port: int) -> str:
        """Why its status keeps it out of force. Neither ``controllerName`` nor the namespace of a status matters."""
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
        """Raises ``ValueError`` for what Linkerd can't convert, ``UnreadError`` for what can't be judged here."""
        meta, spec = route.metadata, route.spec
        for name, text in (meta.annotations or {}).items():
            if name in VOIDING_ANNOTATIONS and not ANNOTATIONS[name][0](text):
                raise ValueError(
                    f"its annotation {name} can't be read: {text!r}, where it takes {ANNOTATIONS[name][1]}"
                )
        rules = tuple(self._rule(rule, parent) for rule in spec.rules)
        return route_selection.Route(meta.namespace, meta.name, rules, tuple(spec.hostnames), meta.creationTimestamp)

    def _rule(self, rule: k8s.RouteRule, parent: Service) -> route_selection.Rule:
        parts = (
            *map(unconvertible_rules.unconvertible_filter, rule.filters),
            *map(unconvertible_rules.unconvertible_match, rule.matches),
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
        elif unfit := next(filter(None, map(unconvertible_rules.unconvertible_filter, ref.filters)), ""):
            broken = f"Linkerd can't convert it: {unfit}"
        elif known := self._services.get(service):
            broken, status = _failing_port(known, ref.port)
        return route_selection.Backend(service.namespace, service.name, ref.port or 0, ref.weight, broken, status)


VOIDING_ANNOTATIONS = (
    TIMEOUT + "request",
    TIMEOUT + "response",
    TIMEOUT + "idle",
    *(RETRY + n for n in ("http", "limit", "timeout")),
)
"""Annotations of an HTTPRoute that make it unconvertible where their values can't be parsed."""


def _failing_port(service: k8s.Service, port: int) -> tuple[str, int]:
    """Why requests to this port of a backend Service fail, and with which status; empty where they don't."""
    if service.spec.type == "ExternalName":
        return f"the Service {service.metadata.name} is of type ExternalName", 500
    ports = service.spec.ports
    if not ports or any(port in (own.port, own.targetPort) for own in ports):
        return "", 500  # of a port that it lacks the proxy dials the pods on that very number
    return f"the Service {service.metadata.name} has no port {port}, and its pods are dialled on that number", 502


def _ref(route: k8s.Route | k8s.GrpcRoute, parent: Service, port: int) -> k8s.ParentRef | None:
    """The parentRef of the route that names ``parent``; without a port it is for every port.

    Of several, one of kind Service: a Gateway may have the same name.
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
    path = route_selection.PathMatch(match.path.type, match.path.value) if match.path else None
    if path and path.kind == "RegularExpression":
        route_selection.compiled(path.value)
    return route_selection.Match(path, _values(match.headers), _values(match.queryParams), match.method or "")


def _values(values: list[k8s.Value]) -> tuple[route_selection.ValueMatch, ...]:
    for value in values:
        if value.type == "RegularExpression":
            route_selection.compiled(value.value)
    return tuple(route_selection.ValueMatch(v.name, v.value, v.type == "RegularExpression") for v in values)


def _plain(value: Any) -> Any:
    """Without nulls, which Kubernetes takes for absent fields; YAML timestamps as RFC 3339 texts, as in the API."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    return [_plain(v) for v in value] if isinstance(value, list) else value
