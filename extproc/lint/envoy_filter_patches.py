"""EnvoyFilter: what each of its patches puts where."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from extproc.lint.manifest import Resource, Value

EXT_PROC = "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor"
HCM = "envoy.filters.network.http_connection_manager"
ROUTER = "envoy.filters.http.router"
WITH_MATCHER = "envoy.extensions.common.matching.v3.ExtensionWithMatcher"
"""Around another filter: skips it where its matcher says so."""

_INSERT = ("ADD", "INSERT_FIRST", "INSERT_BEFORE", "INSERT_AFTER")
_EDGE = ("GATEWAY", "SIDECAR_OUTBOUND")
_DEFAULTS = {"header": "SEND", "body": "NONE", "trailer": "SKIP"}
"""Of the processing mode."""


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
    def config(self) -> Value:
        """Configuration of the filter that it puts in; within a matcher, of the filter in there."""
        config = self.value.at("typed_config")
        while config.at("@type").text.endswith(f"/{WITH_MATCHER}"):
            config = config.at("extension_config", "typed_config")
        return config

    @property
    def processor(self) -> Processor | None:
        """The ext_proc filter that it puts in, if it does."""
        if self.apply_to != "HTTP_FILTER" or not self.config.at("@type").text.endswith(f"/{EXT_PROC}"):
            return None
        return Processor(self, self.config)

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

    def mode(self, part: str) -> str:
        """Of the processing mode, as in ``request_body_mode``; Envoy's default where it isn't written."""
        return self.config.at("processing_mode", part).text or _DEFAULTS[part.split("_")[1]]

    @property
    def cluster(self) -> Value:
        """Name of the cluster at which the processor is called."""
        return self.config.at("grpc_service", "envoy_grpc", "cluster_name")


def patches(resource: Resource) -> Iterator[Patch]:
    """The patches of an EnvoyFilter, in order."""
    for item in resource.spec.at("configPatches").items:
        yield Patch(resource, item)
