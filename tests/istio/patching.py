"""A proxy as Istio configures it, and EnvoyFilters applied to it as istiod does.

The HTTP filters stand in Istio's order. Those of Istio's own that the plain Envoy does not have are stood for by
filters that do nothing, under the same names: patches find their place by names. What nothing matches changes nothing,
silently, as in Istio.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

Doc = dict[str, Any]

MANAGER = "envoy.filters.network.http_connection_manager"
OF_ISTIO_ALONE = ("istio.metadata_exchange", "istio.alpn", "istio.stats")
_HTTP = "type.googleapis.com/envoy.extensions.filters.http"
_GATEWAY = "gateway.networking.k8s.io/gateway-name"
"""Label of the pods of a Gateway of the Gateway API, and so of a waypoint."""
_BY_KEY = ("typed_per_filter_config", "typed_extension_protocol_options")
"""Maps: an entry replaces the one with its key."""


@dataclass
class Proxy:
    """A listener of a sidecar or gateway, with its routes and all clusters."""

    context: str
    port: int
    """On which Istio thinks that it listens."""
    vhosts: list[Doc]
    clusters: list[Doc]
    namespace: str = "ai"
    labels: dict[str, str] = field(default_factory=dict)
    authentication: list[Doc] = field(default_factory=list)
    """HTTP filters that Istio makes of RequestAuthentication and AuthorizationPolicy."""
    manager: Doc = field(init=False)
    listener: Doc = field(default_factory=dict)
    """What patches say of the listener as a whole."""

    def __post_init__(self) -> None:
        self.manager = {
            "@type": "type.googleapis.com/envoy.extensions.filters.network."
            "http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "outbound",
            "stream_idle_timeout": "0s",
            "normalize_path": True,
            "use_remote_address": self.context == "GATEWAY",
            "http_filters": self._filters(),
        }

    def _filters(self) -> list[Doc]:
        exchange, alpn, stats = map(_nothing, OF_ISTIO_ALONE)
        counting = {"@type": f"{_HTTP}.grpc_stats.v3.FilterConfig", "emit_filter_state": True}
        return [
            exchange,
            *deepcopy(self.authentication),
            {"name": "envoy.filters.http.grpc_stats", "typed_config": counting},
            *([alpn] if self.context != "SIDECAR_INBOUND" else []),
            {"name": "envoy.filters.http.fault", "typed_config": {"@type": f"{_HTTP}.fault.v3.HTTPFault"}},
            {"name": "envoy.filters.http.cors", "typed_config": {"@type": f"{_HTTP}.cors.v3.Cors"}},
            stats,
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{_HTTP}.router.v3.Router"}},
        ]

    @property
    def filters(self) -> list[str]:
        """Names of the HTTP filters, in order."""
        return [each["name"] for each in self.manager["http_filters"]]

    def apply(self, documents: list[Doc]) -> None:
        """Patches it with the EnvoyFilters that select it, in Istio's order."""
        mine = [d for d in documents if d["kind"] == "EnvoyFilter" and self._selected(d)]
        mine.sort(key=lambda d: (d["spec"].get("priority", 0), d["metadata"]["name"]))
        for document in mine:
            for patch in document["spec"]["configPatches"]:
                if patch["match"]["context"] == self.context:
                    self._patch(patch["applyTo"], patch["match"], patch["patch"])

    def _selected(self, document: Doc) -> bool:
        wanted: Doc = document["spec"].get("workloadSelector", {}).get("labels", {})
        if targets := document["spec"].get("targetRefs"):
            wanted = {_GATEWAY: targets[0]["name"]}
        return document["metadata"]["namespace"] == self.namespace and wanted.items() <= self.labels.items()

    def _patch(self, apply_to: str, match: Doc, patch: Doc) -> None:
        value = deepcopy(patch["value"])
        match apply_to, patch["operation"]:
            case "NETWORK_FILTER", "MERGE":
                if self._listens(match):
                    merge(self.manager, value["typed_config"])
            case "HTTP_FILTER", "INSERT_BEFORE":
                chain = match["listener"]["filterChain"]["filter"]
                anchor = chain["subFilter"]["name"]
                if self._listens(match) and anchor in self.filters:
                    self.manager["http_filters"].insert(self.filters.index(anchor), value)
            case "LISTENER", "MERGE":
                assert match["listener"] == {"name": "main_internal"}, "the waypoint's"
                merge(self.listener, value)
            case "VIRTUAL_HOST", "MERGE":
                for vhost in self._hosts(match):
                    merge(vhost, value)
            case "HTTP_ROUTE", "MERGE":
                self._merge_routes(match, value)
            case "CLUSTER", "ADD":
                self.clusters.append(value)
            case "CLUSTER", "MERGE":
                self._merge_clusters(match["cluster"]["name"], value)
            case other:
                raise NotImplementedError(other)

    def _merge_clusters(self, name: str, value: Doc) -> None:
        for cluster in self.clusters:
            if cluster["name"] == name:
                merge(cluster, value)

    def _merge_routes(self, match: Doc, value: Doc) -> None:
        for vhost in self._hosts(match):
            for route in vhost["routes"]:
                if route["name"] == match["routeConfiguration"]["vhost"]["route"]["name"]:
                    merge(route, value)

    def _listens(self, match: Doc) -> bool:
        listener: Doc = match["listener"]
        assert listener["filterChain"]["filter"]["name"] == MANAGER
        port: int = listener.get("portNumber", self.port)
        return port == self.port

    def _hosts(self, match: Doc) -> list[Doc]:
        """None at a waypoint: what VirtualServices make there istiod does not patch."""
        if self.context == "SIDECAR_INBOUND":
            return []
        wanted = match.get("routeConfiguration", {}).get("vhost", {})
        named = wanted.get("name")
        domain = wanted.get("domainName")
        return [v for v in self.vhosts if named in (None, v["name"]) and (domain is None or domain in v["domains"])]

    def bootstrap(self, log: str) -> Doc:
        """A configuration that Envoy runs; ``log``: where it writes a line for each request."""
        routes = {"route_config": {"name": str(self.port), "virtual_hosts": self.vhosts}}
        manager = self.manager | routes | {"access_log": [*self.manager.get("access_log", ()), _log(log)]}
        chain = {"filters": [{"name": MANAGER, "typed_config": manager}]}
        free = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
        return {
            "node": {"id": "proxy", "cluster": "mesh"},
            "admin": {"address": free},
            # As in Istio's own bootstrap.
            "layered_runtime": {
                "layers": [{"name": "static", "static_layer": {"re2.max_program_size.error_level": 32768}}]
            },
            "static_resources": {
                "listeners": [
                    {"name": f"0.0.0.0_{self.port}", "address": free, "filter_chains": [chain], **self.listener}
                ],
                "clusters": self.clusters,
            },
        }


def merge(into: Doc, value: Doc) -> None:
    """As protobuf merges: messages field by field, lists one after the other, maps by their keys."""
    for key, new in value.items():
        old = into.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            if key in _BY_KEY:
                into[key] = old | new
            else:
                merge(old, new)
        elif isinstance(old, list) and isinstance(new, list):
            into[key] = old + new
        else:
            into[key] = new


def _nothing(name: str) -> Doc:
    return {"name": name, "typed_config": {"@type": f"{_HTTP}.header_mutation.v3.HeaderMutation", "mutations": {}}}


def _log(path: str) -> Doc:
    line = {"details": "%RESPONSE_CODE_DETAILS%", "cluster": "%UPSTREAM_CLUSTER_RAW%", "route": "%ROUTE_NAME%"}
    line |= {key: f"%DYNAMIC_METADATA(aimesh:{key})%" for key in ("model", "version", "policy", "cohort")}
    return {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": path,
            "log_format": {"json_format": line},
        },
    }
