"""What matters of the documents of Envoy's admin port.

Sans I/O. The documents are trusted no further than JSON: what is missing or of another shape counts as absent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from extproc.errors import SetupError

EXT_PROC = "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor"
_HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_GRPC_ACCESS_LOG = "envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig"
_WITH_MATCHER = "envoy.extensions.common.matching.v3.ExtensionWithMatcher"
_TYPED_STRUCTS = ("udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct")
_PER_ROUTE = "envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute"
_FILTER_CONFIG = "envoy.config.route.v3.FilterConfig"
_MAX_QUOTED = 200
"""Characters of an unexpected answer in a message."""
_INFERENCE_POOL = "dummy"
"""The cluster name that Istio gives the filter of an InferencePool, which routes override."""


class Evidence(msgspec.Struct, frozen=True):
    """What Envoy says, as it came. ``clusters`` and ``stats`` are None where they were not asked for."""

    config_dump: Mapping[str, Any]
    clusters: Mapping[str, Any] | None = None
    stats: Mapping[str, int] | None = None
    """Counters and gauges by name."""
    server: Mapping[str, Any] | None = None


class HttpFilter(msgspec.Struct, frozen=True):
    """A filter of an HTTP chain."""

    name: str
    config: Mapping[str, Any]
    """Within a matcher that may skip it or a TypedStruct, its own."""
    disabled: bool

    @property
    def is_processor(self) -> bool:
        """Whether it is an ext_proc filter that calls somebody (that of an InferencePool is only a place)."""
        return _type(self.config) == EXT_PROC and self.cluster != _INFERENCE_POOL

    @property
    def observes(self) -> bool:
        """Whether Envoy sends without waiting for answers."""
        return bool(self.config.get("observability_mode"))

    @property
    def modes(self) -> Mapping[str, Any]:
        """Its processing mode; what isn't there has Envoy's default."""
        return _object(self.config.get("processing_mode"))

    @property
    def cluster(self) -> str:
        """At which it calls the processor; empty for google_grpc."""
        return str(at(self.config, "grpc_service", "envoy_grpc", "cluster_name") or "")

    def says(self, key: str) -> list[str]:
        """The values of the gRPC metadata ``key`` of its streams."""
        pairs = rows(at(self.config, "grpc_service"), "initial_metadata")
        return [str(pair.get("value", "")) for pair in pairs if pair.get("key") == key]


class FilterChain(msgspec.Struct, frozen=True):
    """An HTTP connection manager: a listener's chain of HTTP filters."""

    listener: str
    stat_prefix: str
    filters: Sequence[HttpFilter]
    cleans: bool
    """Whether it removes headers before it chooses a route."""
    routes: Sequence[Mapping[str, Any]]
    """Its route configurations, as far as the dump has them."""
    access_logs: frozenset[str]
    """The clusters to which its gRPC access logs go."""

    def switched_on(self, name: str) -> bool:
        """Whether some route, virtual host or configuration switches the filter ``name`` on: has settings for it."""
        settings = (at(s, name) for routes in self.routes for s in _values(routes, "typed_per_filter_config"))
        return any(isinstance(found, dict) and not found.get("disabled") for found in settings)

    def modes(self, item: HttpFilter) -> list[Mapping[str, Any]]:
        """The processing modes of a filter: its own, and those that routes and virtual hosts have for it."""
        found = [item.modes]
        for settings in (
            at(s, item.name) for routes in self.routes for s in _values(routes, "typed_per_filter_config")
        ):
            config = _unwrapped(_object(settings))
            if _type(config) == _FILTER_CONFIG:
                config = _unwrapped(_object(config.get("config")))
            if _type(config) == _PER_ROUTE and (own := at(config, "overrides", "processing_mode")):
                found.append(_object(own))
        return found

    def sees_requests(self, item: HttpFilter) -> bool:
        """Whether any part of a request goes to the processor of a filter, on any route."""
        return any(
            modes.get("request_header_mode") != "SKIP"
            or modes.get("request_body_mode", "NONE") != "NONE"
            or modes.get("request_trailer_mode") == "SEND"
            for modes in self.modes(item)
        )


class Dump:
    """A ``config_dump``, read."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._sections = {_type(section): section for section in rows(document, "configs")}
        if "envoy.admin.v3.BootstrapConfigDump" not in self._sections:
            raise SetupError("this is no config_dump of an Envoy: it has no bootstrap; get all of it, unfiltered")

    def _rows(self, section: str, *lists: str) -> Iterator[Mapping[str, Any]]:
        found = self._sections.get(f"envoy.admin.v3.{section}", {})
        for name in lists:
            yield from rows(found, name)

    @property
    def clusters(self) -> dict[str, Mapping[str, Any]]:
        """Clusters that serve, by name."""
        entries = self._rows("ClustersConfigDump", "static_clusters", "dynamic_active_clusters")
        return {str(c.get("name")): c for entry in entries if isinstance(c := entry.get("cluster"), dict)}

    @property
    def refused(self) -> list[tuple[str, str]]:
        """Listeners and clusters whose newest configuration Envoy would not have: their name, and why."""
        entries = [
            *self._rows("ListenersConfigDump", "dynamic_listeners"),
            *self._rows("ClustersConfigDump", "dynamic_active_clusters", "dynamic_warming_clusters"),
        ]
        found: dict[str, str] = {}
        for entry in entries:
            if error := entry.get("error_state"):
                name = str(entry.get("name") or at(entry, "cluster", "name") or "")
                # Envoy lists an error again, without a name, where the resource has not served before.
                why = str(at(error, "details"))
                found[why] = found.get(why) or name
        return [(name, why) for why, name in found.items()]

    @property
    def chains(self) -> list[FilterChain]:
        """Every HTTP filter chain of every listener; equal ones of a listener once."""
        listeners = [
            *(at(e, "listener") for e in self._rows("ListenersConfigDump", "static_listeners")),
            *(at(e, "active_state", "listener") for e in self._rows("ListenersConfigDump", "dynamic_listeners")),
        ]
        entries = [*self._rows("RoutesConfigDump", "static_route_configs", "dynamic_route_configs")]
        named = {str(at(e, "route_config", "name")): at(e, "route_config") for e in entries}
        found: list[FilterChain] = []
        for listener in listeners:
            for manager in _managers(listener):
                chain = _chain(str(at(listener, "name") or "?"), manager, named)
                if chain not in found:
                    found.append(chain)
        return found


def stats(text: str) -> dict[str, int]:
    """Counters and gauges of Envoy's ``/stats`` in its text form."""
    pairs = (line.rpartition(": ") for line in text.splitlines())
    return {name: int(value) for name, _, value in pairs if value.isascii() and value.isdecimal()}


def document(text: str | bytes, what: str) -> Mapping[str, Any]:
    """A JSON object. Raises ``SetupError`` that quotes the text where it is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise SetupError(f"{what} is no JSON object as Envoy's admin port gives it; {quoted(text)}")
    return found


def quoted(text: str | bytes) -> str:
    """``it says "…"``: how an answer begins, on one line."""
    words = (text.decode("utf-8", "replace") if isinstance(text, bytes) else text)[: 4 * _MAX_QUOTED].split()
    line = "".join(c if c.isprintable() else "?" for c in " ".join(words))
    return f'it says "{line[:_MAX_QUOTED]}{"…" if len(line) > _MAX_QUOTED else ""}"' if line else "it is empty"


def rows(value: Any, name: str) -> list[Mapping[str, Any]]:
    """The objects in the list ``name`` of an object."""
    found = value.get(name) if isinstance(value, dict) else None
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def at(value: Any, *steps: str) -> Any:
    """The value at ``steps`` below; None where it isn't there."""
    for step in steps:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _config(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration of a filter or an access log, or of that which it wraps into a matcher: of the filter that a
    composite one executes where nothing matches.
    """
    config = _unwrapped(_object(item.get("typed_config")))
    while _type(config) == _WITH_MATCHER:
        executed = at(config, "xds_matcher", "on_no_match", "action", "typed_config", "typed_config", "typed_config")
        config = _unwrapped(_object(executed or at(config, "extension_config", "typed_config")))
    return config


def _unwrapped(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a TypedStruct holds, with its type; anything else as it is."""
    if _type(config) not in _TYPED_STRUCTS:
        return config
    return {**_object(config.get("value")), "@type": config.get("type_url", "")}


def _type(config: Mapping[str, Any]) -> str:
    return str(config.get("@type", "")).rpartition("/")[2]


def _managers(listener: Any) -> Iterator[Mapping[str, Any]]:
    chains = [*rows(listener, "filter_chains"), at(listener, "default_filter_chain")]
    for chain in chains:
        for item in rows(chain, "filters"):
            config = item.get("typed_config")
            if isinstance(config, dict) and _type(config) == _HCM:
                yield config


def _chain(listener: str, manager: Mapping[str, Any], named: Mapping[str, Mapping[str, Any]]) -> FilterChain:
    early = [
        m for e in rows(manager, "early_header_mutation_extensions") for m in rows(at(e, "typed_config"), "mutations")
    ]
    routes = [manager.get("route_config"), named.get(str(at(manager, "rds", "route_config_name")))]
    return FilterChain(
        listener=listener,
        stat_prefix=str(manager.get("stat_prefix", "")),
        filters=[
            HttpFilter(str(f.get("name", "")), _config(f), bool(f.get("disabled")))
            for f in rows(manager, "http_filters")
        ],
        cleans=any("remove" in m or "remove_on_match" in m for m in early),
        routes=[r for r in routes if isinstance(r, dict)],
        access_logs=frozenset(
            str(at(log, "common_config", "grpc_service", "envoy_grpc", "cluster_name") or "")
            for log in map(_config, rows(manager, "access_log"))
            if _type(log) == _GRPC_ACCESS_LOG
        ),
    )


def _values(root: Any, name: str) -> Iterator[Any]:
    """Every value under the key ``name``, at any depth."""
    stack = [root]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if name in value:
                yield value[name]
            stack += value.values()
        elif isinstance(value, list):
            stack += value
