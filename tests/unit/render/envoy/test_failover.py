"""Clusters that stand in for each other: which, in which order, and what their routes do."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.policy.gpu import Requirement
from extproc.policy.snapshot import GpuPool, Policy, RetryBudget, Snapshot, Version
from extproc.policy.upstream import PathRewrite, Upstream
from extproc.render.envoy.clusters import clusters
from extproc.render.envoy.envoy_options import EnvoyOptions
from extproc.render.envoy.failover import stand_ins
from extproc.render.envoy.routes import route_configuration
from tests.unit.render.snapshots import A100, Doc, by_name

HERE = "us-west1/a"
REWRITTEN = Upstream(path_rewrite=PathRewrite("/v1", ""))


def placed(*places: str, locality: str = HERE, **fields: Any) -> Snapshot:
    pools = tuple(GpuPool(f"p{n}", A100, (f"10.0.{n}.1:80",), place) for n, place in enumerate(places))
    versions = fields.pop("versions", (Version("v1"),))
    return Snapshot((Policy("chat", versions=versions, gpu=Requirement(), **fields),), pools, locality=locality)


def standing_in(snapshot: Snapshot) -> dict[str, list[str]]:
    targets = snapshot.targets["chat", "v1"]
    return {target.pool: [other.pool for other in stand_ins(snapshot, target)] for target in targets}


def routes(snapshot: Snapshot) -> list[Doc]:
    (host,) = route_configuration(snapshot, EnvoyOptions())["virtual_hosts"]
    return [route for route in host["routes"] if "grpc" not in route["match"]]


def test_the_others_by_their_distance() -> None:
    assert standing_in(placed("us-east1", "us-west1/b", HERE)) == {
        "p0": ["p2", "p1"],
        "p1": ["p2", "p0"],
        "p2": ["p1", "p0"],
    }


@pytest.mark.parametrize(
    "snapshot", [placed("", ""), placed(HERE, HERE), placed(HERE, "us-east1", locality=""), placed(HERE)]
)
def test_none_where_no_place_tells_them_apart(snapshot: Snapshot) -> None:
    assert not any(standing_in(snapshot).values())
    assert not [one["name"] for one in clusters(snapshot, EnvoyOptions()) if "failover" in one["name"]]
    assert "failover" not in str(routes(snapshot))


def test_none_for_mirrors_and_for_servers_with_other_paths() -> None:
    mirrored = placed(HERE, "us-east1", versions=(Version("v0"), Version("v1", 0, mirror=5)))
    assert not any(standing_in(mirrored).values())
    west, east = (GpuPool(n, A100, (f"{n}:80",), p) for n, p in (("west", HERE), ("east", "us-east1")))
    other = GpuPool("other", A100, ("other:80",), "eu", upstream=REWRITTEN)
    policy = Policy("chat", versions=(Version("v1"),), gpu=Requirement())
    assert standing_in(Snapshot((policy,), (west, east, other), locality=HERE)) == {
        "west": ["east"],
        "east": ["west"],
        "other": [],
    }


def test_an_aggregate_of_clusters_that_may_fail_as_a_whole() -> None:
    found = by_name(clusters(placed(HERE, "us-east1"), EnvoyOptions()))
    assert found.keys() == {
        f"chat/v1/{pool}{kind}{more}" for pool in ("p0", "p1") for kind in ("", "#grpc") for more in ("", "#failover")
    }
    whole = found["chat/v1/p1#grpc#failover"]
    assert whole["cluster_type"]["typed_config"]["clusters"] == ["chat/v1/p1#grpc", "chat/v1/p0#grpc"]
    assert whole["lb_policy"] == "CLUSTER_PROVIDED"
    own = found["chat/v1/p0"]
    assert own["outlier_detection"]["max_ejection_percent"] == 100
    assert own["health_checks"][0]["tcp_health_check"] == {}
    (server,) = own["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert server["metadata"]["filter_metadata"]["aimesh"]["gpu_pool"] == "p0"


def test_retries_leave_the_pool_that_failed() -> None:
    first, second, default, _ = routes(placed(HERE, "us-east1"))
    assert [route["route"]["cluster"] for route in (first, second, default)] == [
        "chat/v1/p0#failover",
        "chat/v1/p1#failover",
        "chat/v1/p0#failover",
    ]
    assert "previous_priorities" in first["route"]["retry_policy"]["retry_priority"]["name"]
    told = {one["header"]["key"]: one["header"]["value"] for one in first["response_headers_to_add"]}
    assert told["x-gpu-pool"] == "%UPSTREAM_METADATA(aimesh:gpu_pool)%"


@pytest.mark.parametrize(("budget", "percent"), [(None, 100.0), (RetryBudget(0.1, 5), 10.0)])
def test_every_request_may_be_retried_unless_the_policy_says_otherwise(
    budget: RetryBudget | None, percent: float
) -> None:
    found = by_name(clusters(placed(HERE, "us-east1", retry_budget=budget), EnvoyOptions()))
    (limits,) = found["chat/v1/p0#failover"]["circuit_breakers"]["thresholds"]
    assert limits["retry_budget"]["budget_percent"]["value"] == percent
