"""The fields of cluster resources that decide where requests go, as typed values. Pure.

``msgspec.convert`` reads them from plain trees, ignores all other fields, and says what is wrong and where.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field


class Metadata(Struct):
    """Of every resource."""

    name: str
    namespace: str = "default"
    creationTimestamp: str = ""  # noqa: N815 - the fields' own names
    annotations: dict[str, str] | None = None
    labels: dict[str, str] | None = None


class ParentRef(Struct):
    """What a route belongs to. The defaults are those of the API, not what Linkerd's users mean."""

    name: str
    group: str = "gateway.networking.k8s.io"
    kind: str = "Gateway"
    namespace: str | None = None
    port: int | None = None


class Value(Struct):
    """Of a header or a query parameter."""

    name: str
    value: str
    type: str = "Exact"


class PathMatch(Struct):
    """Of a path."""

    type: str = "PathPrefix"
    value: str = "/"


class RouteMatch(Struct):
    """All of it must hold."""

    path: PathMatch | None = None
    headers: list[Value] = []
    queryParams: list[Value] = []  # noqa: N815
    method: str | None = None


class SetHeader(Struct):
    """A header that is set or added."""

    name: str
    value: str


class Modifier(Struct):
    """What sets and adds headers."""

    set: list[SetHeader] = []
    add: list[SetHeader] = []


class PathModifier(Struct):
    """Where a redirect leads."""

    replaceFullPath: str | None = None  # noqa: N815
    replacePrefixMatch: str | None = None  # noqa: N815


class Redirect(Struct):
    """Of a redirect its path alone."""

    path: PathModifier | None = None


class Filter(Struct):
    """What changes a request, as far as it may be none that Linkerd can convert."""

    type: str
    requestRedirect: Redirect | None = None  # noqa: N815
    requestHeaderModifier: Modifier | None = None  # noqa: N815
    responseHeaderModifier: Modifier | None = None  # noqa: N815


class BackendRef(Struct):
    """Where requests go."""

    name: str
    group: str = ""
    kind: str = "Service"
    namespace: str | None = None
    port: int | None = None
    weight: int = 1
    filters: list[Filter] = []


class RouteRule(Struct):
    """One rule of a route."""

    matches: list[RouteMatch] = []
    backendRefs: list[BackendRef] = []  # noqa: N815
    filters: list[Filter] = []


class RouteSpec(Struct):
    """A route without rules matches nothing."""

    parentRefs: list[ParentRef] = []  # noqa: N815
    hostnames: list[str] = []
    rules: list[RouteRule] = []


class Condition(Struct):
    """``type: Accepted``, ``status: "True"``."""

    type: str
    status: str
    reason: str = ""


class ParentStatus(Struct):
    """What a controller says of a route at one parent."""

    parentRef: ParentRef  # noqa: N815
    controllerName: str = ""  # noqa: N815
    conditions: list[Condition] = []


class RouteStatus(Struct):
    """What controllers say of a route."""

    parents: list[ParentStatus] = []


class Route(Struct):
    """An HTTPRoute; of a GRPCRoute its parents and status."""

    metadata: Metadata
    spec: RouteSpec
    status: RouteStatus | None = None


class GrpcSpec(Struct):
    """Only that there is such a route matters."""

    parentRefs: list[ParentRef] = []  # noqa: N815


class GrpcRoute(Struct):
    """A GRPCRoute."""

    metadata: Metadata
    spec: GrpcSpec
    status: RouteStatus | None = None


class ServicePort(Struct):
    """A port of a Service."""

    port: int
    targetPort: int | str | None = None  # noqa: N815
    appProtocol: str | None = None  # noqa: N815


class ServiceSpec(Struct):
    """Of a Service."""

    ports: list[ServicePort] = []
    clusterIP: str | None = None  # noqa: N815
    type: str = "ClusterIP"


class Service(Struct):
    """A Service."""

    metadata: Metadata
    spec: ServiceSpec


class ProfileSpec(Struct):
    """Only whether there are any matters."""

    routes: list[Any] | None = None
    dstOverrides: list[Any] | None = None  # noqa: N815


class ServiceProfile(Struct):
    """Named after its Service's host."""

    metadata: Metadata
    spec: ProfileSpec = field(default_factory=ProfileSpec)


class EndpointConditions(Struct):
    """Not known counts as ready."""

    ready: bool | None = None


class Endpoint(Struct):
    """One of a slice."""

    conditions: EndpointConditions = field(default_factory=EndpointConditions)


class EndpointSlice(Struct):
    """Where a Service's pods are."""

    metadata: Metadata
    endpoints: list[Endpoint] | None = None
