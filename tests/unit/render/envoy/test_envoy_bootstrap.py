"""A whole configuration: static, or split into files that Envoy watches."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from extproc.policy.snapshot import Snapshot, Version
from extproc.render.envoy.bootstrap import (
    CLUSTERS,
    LISTENERS,
    ROUTES_FILE,
    bootstrap,
    discovery_resources,
    discovery_response,
    file_discovery_bootstrap,
)
from extproc.render.envoy.clusters import clusters, processor_cluster
from extproc.render.envoy.envoy_options import EnvoyOptions
from extproc.render.envoy.overload import overload_manager
from extproc.render.envoy.routes import route_configuration
from extproc.render.istio.provenance import route_metadata
from tests.unit.render.snapshots import CANARY, PLAIN, policy

OPTIONS = EnvoyOptions(listen="[::1]:80", admin="127.0.0.1:9")
DISCOVERED = msgspec.structs.replace(OPTIONS, discovery_directory="/d")


def manager(listener: dict[str, Any]) -> dict[str, Any]:
    return dict(listener["filter_chains"][0]["filters"][0]["typed_config"])


def routes() -> dict[str, Any]:
    """Those of the policy, which tell what they were rendered from."""
    return route_configuration(CANARY, OPTIONS) | {"metadata": route_metadata(CANARY)}


def test_everything_in_one_document() -> None:
    found = bootstrap(CANARY, OPTIONS)
    static = found["static_resources"]
    assert static["clusters"] == [processor_cluster(OPTIONS), *clusters(CANARY, OPTIONS)]
    (listener,) = static["listeners"]
    assert listener["address"] == {"socket_address": {"address": "::1", "port_value": 80}}
    assert manager(listener)["route_config"] == routes()
    assert "rds" not in manager(listener)
    assert "dynamic_resources" not in found


@pytest.mark.parametrize("document", [bootstrap(PLAIN, OPTIONS), file_discovery_bootstrap(DISCOVERED)])
def test_every_bootstrap_has_an_admin_port_and_limits(document: dict[str, Any]) -> None:
    assert document["admin"]["address"] == {"socket_address": {"address": "127.0.0.1", "port_value": 9}}
    assert document["overload_manager"] == overload_manager(OPTIONS)
    (layer,) = document["layered_runtime"]["layers"]
    assert layer["static_layer"]["envoy.reloadable_features.ext_proc_graceful_grpc_close"] is True
    assert layer["static_layer"]["re2.max_program_size.error_level"] == 1 << 30


def test_a_mesh_behind_has_routes_and_clusters_of_its_own() -> None:
    """Filters go by the policies; routes and clusters by where the mesh takes requests."""
    pinned = Snapshot((policy(versions=CANARY.policies[0].versions, allow_pin=True),))
    hops = Snapshot((policy(versions=(Version("", 1, ("apex:80",)),)),))
    found = bootstrap(pinned, OPTIONS, hops)
    assert [one["name"] for one in found["static_resources"]["clusters"]] == ["aimesh-processor", "chat", "chat#grpc"]
    chain = manager(found["static_resources"]["listeners"][0])
    assert chain["route_config"] == route_configuration(hops, OPTIONS, keep_target_headers=True)
    (early,) = chain["early_header_mutation_extensions"]
    assert {"remove": "x-model-version"} not in early["typed_config"]["mutations"]


def test_what_a_watching_envoy_starts_with_knows_no_policy() -> None:
    found = file_discovery_bootstrap(DISCOVERED)
    assert found["node"] == {"id": "aimesh", "cluster": "aimesh"}
    assert found["static_resources"] == {"clusters": [processor_cluster(OPTIONS)]}
    for kind, file in (("cds_config", CLUSTERS), ("lds_config", LISTENERS)):
        assert found["dynamic_resources"][kind] == {
            "resource_api_version": "V3",
            "path_config_source": {"path": f"/d/{file}", "watched_directory": {"path": "/d"}},
        }


def test_files_hold_what_a_policy_changes() -> None:
    found = discovery_resources(CANARY, DISCOVERED)
    assert list(found) == [CLUSTERS, ROUTES_FILE, LISTENERS], "routes after the clusters that they name"
    assert found[CLUSTERS] == clusters(CANARY, DISCOVERED)
    assert found[ROUTES_FILE] == [routes()]
    rds = manager(found[LISTENERS][0])["rds"]
    assert rds["route_config_name"] == found[ROUTES_FILE][0]["name"]
    assert rds["config_source"]["path_config_source"]["path"] == f"/d/{ROUTES_FILE}"


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        (CLUSTERS, "envoy.config.cluster.v3.Cluster"),
        (LISTENERS, "envoy.config.listener.v3.Listener"),
        (ROUTES_FILE, "envoy.config.route.v3.RouteConfiguration"),
        ("authority-0.json", "envoy.extensions.transport_sockets.tls.v3.Secret"),
    ],
)
def test_a_file_says_of_what_type_it_is(file: str, kind: str) -> None:
    assert discovery_response(file, "7", [{"name": "a"}]) == {
        "version_info": "7",
        "type_url": f"type.googleapis.com/{kind}",
        "resources": [{"@type": f"type.googleapis.com/{kind}", "name": "a"}],
    }
