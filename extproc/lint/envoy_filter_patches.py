"""EnvoyFilter: what each of its patches puts where."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from extproc.lint.manifest import Resource, Value

EXT_PROC = "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor"
HCM = "envoy.filters.network.http_connection_manager"
ROUTER = "envoy.filters.http.router"
GRPC_ACCESS_LOG = "envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig"
WITH_MATCHER = "envoy.extensions.common.matching.v3.ExtensionWithMatcher"
"""Around another filter: skips it where its matcher says so."""
PER_ROUTE = "envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute"
FILTER_CONFIG = "envoy.config.route.v3.FilterConfig"
TYPED_STRUCTS = ("udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct")
"""Around a configuration whose type its sender does not know: ``type_url`` names it, ``value`` has its fields."""
ROUTES = ("VIRTUAL_HOST", "HTTP_ROUTE", "ROUTE_CONFIGURATION")
"""What has settings per route."""

_INSERT = ("ADD", "INSERT_FIRST", "INSERT_BEFORE", "INSERT_AFTER")
_EDGE = ("GATEWAY", "SIDECAR_OUTBOUND")
_DEFAULTS = {"header": "SEND", "body": "NONE", "trailer": "SKIP"}
"""Of the processing mode."""


class Typed(msgspec.Struct, frozen=True):
    """A message in an ``Any``."""

    name: str
    """Of its type, in full; empty where none is written."""
    config: Value


def typed(written: Value) -> Typed:
    """What an ``Any`` holds; out of the TypedStruct or the matcher that is around it."""
    while True:
        name, config = _last(written.at("@type")), written
        if name in TYPED_STRUCTS:
            name, config = _last(written.at("type_url")), written.at("value")
        if name != WITH_MATCHER:
            return Typed(name, config)
        written = config.at("extension_config", "typed_config")


def _last(type_url: Value) -> str:
    return type_url.text.rpartition("/")[2]


def mode(modes: Value, part: str) -> str:
    """Of a processing mode, as in ``request_body_mode``; Envoy's default where it isn't written."""
    written = modes.at(part).text
    return written if written not in ("", "DEFAULT") else _DEFAULTS[part.split("_")[1]]


def sees_requests(modes: Value) -> bool:
    """Whether a processing mode shows any part of requests."""
    shown = (mode(modes, f"request_{part}_mode") for part in ("header", "body", "trailer"))
    return any(word not in ("SKIP", "NONE") for word in shown)


class Patch(msgspec.Struct, frozen=True):
    """An item of ``configPatches``."""

    resource: Resource
    root: Value

    @property
    def apply_to(self) -> str:
        """What kind of object it changes."""
        return self.root.at("applyTo").text

    @property
    def context(self) -> str:
        """On which listeners; ``ANY`` where the patch doesn't say."""
        return self.root.at("match", "context").text or "ANY"

    @property
    def operation(self) -> str:
        """MERGE, INSERT_BEFORE, …"""
        return self.root.at("patch", "operation").text

    @property
    def value(self) -> Value:
        """What it puts there."""
        return self.root.at("patch", "value")

    @property
    def inserts(self) -> bool:
        """Whether it brings something new."""
        return self.operation in _INSERT

    @property
    def anchor(self) -> Value:
        """Name of the HTTP filter that it stands beside."""
        return self.root.at("match", "listener", "filterChain", "filter", "subFilter", "name")

    @property
    def waypoint(self) -> bool:
        """Whether it is bound by ``targetRefs``, as it must be for a waypoint."""
        return bool(self.resource.spec.at("targetRefs"))

    @property
    def typed(self) -> Typed:
        """Configuration of the filter that it puts in; within a matcher or a TypedStruct, what is in there."""
        return typed(self.value.at("typed_config"))

    @property
    def config(self) -> Value:
        """Its fields."""
        return self.typed.config

    @property
    def processor(self) -> Processor | None:
        """The ext_proc filter that it puts in, if it does."""
        if self.apply_to != "HTTP_FILTER" or self.typed.name != EXT_PROC:
            return None
        return Processor(self, self.config)

    @property
    def chosen(self) -> tuple[object, ...]:
        """By what its proxies are chosen: equal where they are certainly the same."""
        spec = self.resource.spec
        parts = (spec.at("workloadSelector"), spec.at("targetRefs"), self.root.at("match", "proxy"))
        return (self.resource.namespace, *(part.content for part in parts))

    def overwrites(self, other: Patch) -> bool:
        """Whether only one of the two takes effect: they stand in two objects of one name."""
        return self.resource is not other.resource and self.resource.name == other.resource.name

    def meets(self, other: Patch) -> bool:
        """Whether there are listeners to which both apply, as far as contexts tell."""
        return self.context == other.context or "ANY" in (self.context, other.context)


class Processor(msgspec.Struct, frozen=True):
    """An ext_proc filter that a patch puts in."""

    patch: Patch
    config: Value

    @property
    def name(self) -> str:
        """By which routes switch it on and off."""
        return self.patch.value.at("name").text

    @property
    def observes(self) -> bool:
        """Whether Envoy sends without waiting for answers."""
        return self.config.at("observability_mode").flag

    @property
    def at_edge(self) -> bool:
        """Whether it stands where routes to versions are chosen: on a gateway, a caller's sidecar, a waypoint."""
        return self.patch.context in (*_EDGE, "ANY") or self.patch.waypoint

    @property
    def modes(self) -> Value:
        """Which parts of requests and answers it is shown."""
        return self.config.at("processing_mode")

    @property
    def cluster(self) -> Value:
        """Name of the cluster at which the processor is called."""
        return self.config.at("grpc_service", "envoy_grpc", "cluster_name")


def patches(resource: Resource) -> Iterator[Patch]:
    """The patches of an EnvoyFilter, in order."""
    for item in resource.spec.at("configPatches").items:
        yield Patch(resource, item)
