"""Model servers that Envoy can't reach or has ejected are named."""

from __future__ import annotations

from typing import Any

from extproc.doctor.envoy_dump import Evidence
from extproc.doctor.unused_servers import check
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.render.envoy.bootstrap import bootstrap
from extproc.render.envoy.envoy_options import EnvoyOptions

SNAPSHOT = Snapshot((Policy("p", versions=(Version("v1", 1, ("1.1.1.1:1", "1.1.1.2:1")),)),))

BOOTSTRAP = {"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump"}


def host(address: str, stats: dict[str, int], **health: Any) -> dict[str, Any]:
    name, _, port = address.rpartition(":")
    return {
        "address": {"socket_address": {"address": name, "port_value": int(port)}},
        "stats": [{"name": key, "value": str(value)} for key, value in stats.items()],
        "health_status": health,
    }


def found(*hosts: dict[str, Any], cluster: str = "p/v1") -> list[str]:
    static = bootstrap(SNAPSHOT, EnvoyOptions())["static_resources"]["clusters"]
    dump = {
        "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
        "static_clusters": [{"cluster": one} for one in static],
    }
    clusters = {"cluster_statuses": [{"name": cluster, "host_statuses": list(hosts)}]}
    return [f"{one.path}: {one.message}" for one in check(Evidence({"configs": [BOOTSTRAP, dump]}, clusters), "here")]


def test_dead_and_ejected_servers_are_named() -> None:
    dead = host("1.1.1.1:1", {"cx_active": 0, "cx_connect_fail": 7}, eds_health_status="HEALTHY")
    ejected = host("1.1.1.2:1", {"cx_active": 1}, failed_outlier_check=True)
    assert found(dead, ejected) == [
        "cluster p/v1, server 1.1.1.1:1: one of 2 servers gets no requests: no connection, 7 failed",
        "cluster p/v1, server 1.1.1.2:1: one of 2 servers gets no requests: failed outlier check",
    ]


def test_others_are_not() -> None:
    well = host("1.1.1.1:1", {"cx_active": 1, "cx_connect_fail": 7}, eds_health_status="HEALTHY")
    assert found(well) == []
    assert found(host("9.9.9.9:1", {}, failed_outlier_check=True), cluster="aimesh-processor") == []
