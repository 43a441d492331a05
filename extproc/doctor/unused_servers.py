"""Model servers that get no requests: those that Envoy can't connect to, or has ejected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from extproc.doctor.envoy_dump import Dump, Evidence, at, rows
from extproc.doctor.host_health import unusable
from extproc.doctor.rule_catalog import SERVER_UNUSED
from extproc.lint.findings import Finding
from extproc.render.envoy.envoy_options import NAMESPACE


def check(evidence: Evidence, source: str) -> Iterator[Finding]:
    """Each such server by its address and cluster, of the clusters that are rendered from policies by us: both of gRPC
    and of other requests. ``source``: the Envoy, or the file.
    """
    ours = {name for name, cluster in Dump(evidence.config_dump).clusters.items() if _is_models(cluster)}
    for status in rows(evidence.clusters, "cluster_statuses"):
        name = str(status.get("name"))
        hosts = rows(status, "host_statuses") if name in ours else []
        for host in hosts:
            if why := unusable(host):
                subject = f"cluster {name}, server {_address(host)}"
                message = f"one of {len(hosts)} servers gets no requests: {', '.join(why)}"
                yield SERVER_UNUSED.at(source, 0, path=subject, message=message)


def _is_models(cluster: Mapping[str, Any]) -> bool:
    """Our metadata is on its endpoints."""
    groups = rows(at(cluster, "load_assignment"), "endpoints")
    servers = [server for group in groups for server in rows(group, "lb_endpoints")]
    return any(at(server, "metadata", "filter_metadata", NAMESPACE) is not None for server in servers)


def _address(host: Mapping[str, Any]) -> str:
    found = at(host, "address", "socket_address")
    return f"{at(found, 'address')}:{at(found, 'port_value')}"
