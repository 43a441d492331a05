"""A complete Envoy configuration from policies: one static file, or files that Envoy watches for changes (xDS)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from extproc.policy.snapshot import Snapshot
from extproc.render.document import Doc
from extproc.render.envoy.clusters import clusters, processor_cluster, secrets
from extproc.render.envoy.connection_manager import connection_manager
from extproc.render.envoy.downstream_tls import transport_socket
from extproc.render.envoy.envoy_options import NAMESPACE, EnvoyOptions, address, discovery_source
from extproc.render.envoy.overload import overload_manager
from extproc.render.envoy.routes import ROUTES, route_configuration
from extproc.render.envoy.secrets import SECRET_TYPE, static_secret
from extproc.render.istio.provenance import route_metadata

__all__ = [
    "CLUSTERS",
    "LISTENERS",
    "ROUTES_FILE",
    "EnvoyOptions",
    "bootstrap",
    "discovery_resources",
    "file_discovery_bootstrap",
    "notes",
]

CLUSTERS, LISTENERS, ROUTES_FILE = "clusters.json", "listeners.json", "routes.json"
"""Names of the files that ``file_discovery_bootstrap`` has Envoy watch: CDS, LDS and RDS."""

_TYPES = {
    CLUSTERS: "envoy.config.cluster.v3.Cluster",
    LISTENERS: "envoy.config.listener.v3.Listener",
    ROUTES_FILE: "envoy.config.route.v3.RouteConfiguration",
}


def bootstrap(snapshot: Snapshot, options: EnvoyOptions, next_hops: Snapshot | None = None) -> Doc:
    """The whole configuration in one static document, for `envoy -c`. A changed policy needs a restart of Envoy.

    ``next_hops``: the same policies with other targets, where a mesh behind this Envoy routes on by the headers that
    are set from ``snapshot``. Then routes and clusters lead to these targets and no routing header is removed.
    """
    targets = snapshot if next_hops is None else next_hops
    if next_hops is None:
        routes = {"route_config": _routes(targets, options)}
    else:
        routes = {"route_config": route_configuration(targets, options, keep_target_headers=True)}
    static = {
        "listeners": [_listener(snapshot, options, routes)],
        "clusters": [processor_cluster(options), *clusters(targets, options)],
    }
    if keys := [static_secret(secret) for secret in secrets(targets) if secret.kind == "credential"]:
        static["secrets"] = keys
    return _base(options) | {"static_resources": static}


def notes(snapshot: Snapshot) -> Iterator[str]:
    """Texts for the user: servers that such an Envoy does not know."""
    for policy in snapshot.policies:
        for version in policy.versions:
            if not version.inference_pool:
                continue
            servers = [server for target in snapshot.targets[policy.name, version.name] for server in target.endpoints]
            first, more = servers[0] if servers else "no server", len(servers) - 1
            yield (
                f"policy {policy.name}: the pods of the InferencePool {version.inference_pool} are found in Kubernetes "
                f"only, by processors that watch it; for {version.name} this Envoy knows {first}"
                + (f" and {more} more" if more > 0 else "")
            )


_READ_ONLY = ("/ready", "/server_info", "/config_dump", "/clusters", "/listeners", "/stats", "/certs", "/memory")
"""Prefixes of the admin port's paths that only tell."""


def file_discovery_bootstrap(options: EnvoyOptions) -> Doc:
    """A bootstrap without anything that a policy changes; Envoy discovers the rest in files of
    ``options.discovery_directory``.

    Its admin port only tells: by others of its paths any web page in a browser on this machine could end Envoy, since a
    form of any origin may be sent to any port.
    """
    admin = {"address": address(options.admin), "allow_paths": [{"prefix": path} for path in _READ_ONLY]}
    return _base(options) | {
        "admin": admin,
        "node": {"id": NAMESPACE, "cluster": NAMESPACE},
        "static_resources": {"clusters": [processor_cluster(options)]},
        "dynamic_resources": {
            "cds_config": discovery_source(options.discovery_directory, CLUSTERS),
            "lds_config": discovery_source(options.discovery_directory, LISTENERS),
        },
    }


def discovery_resources(snapshot: Snapshot, options: EnvoyOptions) -> Mapping[str, list[Doc]]:
    """The resources of each discovery file, by the file's name; ``discovery_response`` makes the file's content."""
    routes = {
        "rds": {
            "route_config_name": ROUTES,
            "config_source": discovery_source(options.discovery_directory, ROUTES_FILE),
        }
    }
    return {
        CLUSTERS: clusters(snapshot, options),
        ROUTES_FILE: [_routes(snapshot, options)],
        LISTENERS: [_listener(snapshot, options, routes)],
    }


def discovery_response(file: str, version: str, resources: list[Doc]) -> Doc:
    """The content of ``file``, a DiscoveryResponse; Envoy's statistics show ``version`` once it is in force. A file
    that is none of the three has a secret.
    """
    kind = f"type.googleapis.com/{_TYPES.get(file, SECRET_TYPE)}"
    return {
        "version_info": version,
        "type_url": kind,
        "resources": [{"@type": kind, **resource} for resource in resources],
    }


def _base(options: EnvoyOptions) -> Doc:
    return {
        "admin": {"address": address(options.admin)},
        "layered_runtime": {
            "layers": [
                {
                    "name": NAMESPACE,
                    "static_layer": {
                        # Half-closes a processor's stream that is no longer needed instead of resetting it.
                        "envoy.reloadable_features.ext_proc_graceful_grpc_close": True,
                        # A long pathRewrite makes a regular expression beyond Envoy's default limit (100).
                        "re2.max_program_size.error_level": 1 << 30,
                        "re2.max_program_size.warn_level": 1 << 30,
                    },
                }
            ]
        },
        "overload_manager": overload_manager(options),
    }


def _routes(snapshot: Snapshot, options: EnvoyOptions) -> Doc:
    """The routes, which tell what they were rendered from: `extproc doctor` compares it."""
    return route_configuration(snapshot, options) | {"metadata": route_metadata(snapshot)}


def _listener(snapshot: Snapshot, options: EnvoyOptions, routes: Doc) -> Doc:
    return {
        "name": NAMESPACE,
        "address": address(options.listen),
        "filter_chains": [{"filters": [connection_manager(snapshot, options, routes)], **transport_socket(options)}],
    }
