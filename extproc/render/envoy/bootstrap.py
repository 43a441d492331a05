"""A whole Envoy configuration from a policy: one file, or files that Envoy watches."""

from __future__ import annotations

from collections.abc import Mapping

from extproc.policy.snapshot import Snapshot
from extproc.render.document import Doc
from extproc.render.envoy.clusters import clusters, processor_cluster
from extproc.render.envoy.envoy_options import NAMESPACE, EnvoyOptions, address
from extproc.render.envoy.filters import connection_manager
from extproc.render.envoy.overload import overload_manager
from extproc.render.envoy.routes import ROUTES, route_configuration

__all__ = [
    "CLUSTERS",
    "LISTENERS",
    "ROUTES_FILE",
    "EnvoyOptions",
    "bootstrap",
    "discovered",
    "watching",
]

CLUSTERS, LISTENERS, ROUTES_FILE = "clusters.json", "listeners.json", "routes.json"
"""The files that a watching Envoy reads."""

_TYPES = {
    CLUSTERS: "envoy.config.cluster.v3.Cluster",
    LISTENERS: "envoy.config.listener.v3.Listener",
    ROUTES_FILE: "envoy.config.route.v3.RouteConfiguration",
}


def bootstrap(snapshot: Snapshot, options: EnvoyOptions, towards: Snapshot | None = None) -> Doc:
    """Everything in one document: `envoy -c` starts with it. A changed policy needs a restart.

    ``towards``: the same policies with the targets that this Envoy is to know, where a mesh behind it routes on by the
    headers that ``view`` decides about.
    """
    targets = snapshot if towards is None else towards
    routes = {"route_config": route_configuration(targets, options, onward=towards is not None)}
    static = {
        "listeners": [_listener(snapshot, options, routes)],
        "clusters": [processor_cluster(options), *clusters(targets)],
    }
    return _base(options) | {"static_resources": static}


def watching(options: EnvoyOptions, directory: str) -> Doc:
    """A start document that holds only what no policy changes; the rest comes from files in ``directory``."""
    return _base(options) | {
        "node": {"id": NAMESPACE, "cluster": NAMESPACE},
        "static_resources": {"clusters": [processor_cluster(options)]},
        "dynamic_resources": {
            "cds_config": _source(directory, CLUSTERS),
            "lds_config": _source(directory, LISTENERS),
        },
    }


def discovered(snapshot: Snapshot, options: EnvoyOptions, directory: str) -> Mapping[str, list[Doc]]:
    """What belongs into each of the files of a watching Envoy (``discovery_response`` makes the text)."""
    routes = {"rds": {"route_config_name": ROUTES, "config_source": _source(directory, ROUTES_FILE)}}
    return {
        CLUSTERS: clusters(snapshot),
        ROUTES_FILE: [route_configuration(snapshot, options)],
        LISTENERS: [_listener(snapshot, options, routes)],
    }


def discovery_response(file: str, version: str, resources: list[Doc]) -> Doc:
    """The content of ``file``; Envoy shows ``version`` once it has taken it."""
    kind = f"type.googleapis.com/{_TYPES[file]}"
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
                        # Ends a processor's stream instead of breaking it off, where Envoy needs it no more.
                        "envoy.reloadable_features.ext_proc_graceful_grpc_close": True,
                        # A policy may own more models than fit into the patterns that Envoy allows by itself.
                        "re2.max_program_size.error_level": 1 << 30,
                        "re2.max_program_size.warn_level": 1 << 30,
                    },
                }
            ]
        },
        "overload_manager": overload_manager(options),
    }


def _listener(snapshot: Snapshot, options: EnvoyOptions, routes: Doc) -> Doc:
    return {
        "name": NAMESPACE,
        "address": address(options.listen),
        "filter_chains": [{"filters": [connection_manager(snapshot, options, routes)]}],
    }


def _source(directory: str, file: str) -> Doc:
    return {
        "resource_api_version": "V3",
        "path_config_source": {"path": f"{directory}/{file}", "watched_directory": {"path": directory}},
    }
