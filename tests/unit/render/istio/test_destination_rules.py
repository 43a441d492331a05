"""DestinationRules: subsets, limits, outlier detection, retry budgets."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.policy.gpu import Requirement
from extproc.policy.load_balancer import LoadBalancer
from extproc.policy.snapshot import GpuPool, Policy, RetryBudget, Snapshot, Version
from extproc.policy.upstream import Tls, Upstream
from extproc.render.istio.destination_rules import destination_rules
from extproc.render.istio.istio_options import IstioOptions, Release
from tests.unit.render.snapshots import CANARY, PLAIN, WEST, Doc, by_name, policy

DEFAULT = IstioOptions()
HOST = "chat.ai.svc.cluster.local"


def rule(snapshot: Snapshot, options: IstioOptions = DEFAULT) -> Doc:
    (only,) = destination_rules(snapshot, options)
    return dict(only["spec"])


def subsets(snapshot: Snapshot) -> dict[str, Doc]:
    return by_name(rule(snapshot)["subsets"])


def test_one_for_each_host_in_its_namespace() -> None:
    found = destination_rules(Snapshot((*PLAIN.policies, *CANARY.policies)), DEFAULT)
    assert [(one["spec"]["host"], one["metadata"]["name"], one["metadata"]["namespace"]) for one in found] == [
        ("plain.ai.svc.cluster.local", "aimesh-plain-ai", "ai"),
        ("chat.aimesh.internal", "aimesh-chat-aimesh-internal", "ai"),
    ]
    assert {one["apiVersion"] for one in found} == {"networking.istio.io/v1"}
    assert destination_rules(Snapshot(), DEFAULT) == []


def test_subsets_are_pods_with_labels() -> None:
    found = subsets(Snapshot((policy(versions=(Version("v1"), Version("2e5"))),)))
    assert found["v1"] == {"name": "v1", "labels": {"version": "v1"}}
    assert found["2e5"]["labels"] == {"version": "2e5"}
    assert "subsets" not in rule(PLAIN)


def test_limits_are_those_of_the_bare_envoy() -> None:
    traffic = rule(PLAIN)["trafficPolicy"]
    assert traffic["connectionPool"]["http"] == {
        "http1MaxPendingRequests": 65536,
        "http2MaxRequests": 65536,
        "idleTimeout": "4s",
    }
    assert traffic["outlierDetection"]["maxEjectionPercent"] == 50
    assert traffic["outlierDetection"]["consecutive5xxErrors"] == 0
    assert traffic["loadBalancer"] == {"simple": "LEAST_REQUEST"}


@pytest.mark.parametrize(("release", "interval"), [("1.30", None), ("1.31", "10s")])
def test_retry_budgets_by_release(release: Release, interval: str | None) -> None:
    snapshot = Snapshot((policy(retry_budget=RetryBudget(0.25, 10)),))
    budget = rule(snapshot, IstioOptions(release=release))["trafficPolicy"]["retryBudget"]
    assert (budget["percent"], budget["minRetryConcurrency"]) == (25.0, 10)
    assert budget.get("budgetInterval") == interval


def test_a_budget_of_its_own_is_the_subset_s() -> None:
    first = policy(versions=(Version("v1"),), retry_budget=RetryBudget(0.1, 1))
    second = Policy("b", "ai", host="chat", models=("b",), versions=(Version("v1"),), retry_budget=RetryBudget(0.5, 2))
    found = subsets(Snapshot((first, second)))
    assert "trafficPolicy" not in found["chat-v1"]
    assert found["b-v1"]["trafficPolicy"]["retryBudget"]["percent"] == 50.0


def test_load_balancers_of_hosts_and_their_subsets() -> None:
    hashed = LoadBalancer("consistentHash", "x-user")
    versions = Version("v1"), Version("v2", load_balancer=hashed), Version("v3", load_balancer=LoadBalancer("random"))
    found = rule(Snapshot((policy(versions=versions, load_balancer=LoadBalancer("roundRobin")),)))
    assert found["trafficPolicy"]["loadBalancer"] == {"simple": "ROUND_ROBIN"}
    first, second, third = found["subsets"]
    assert "trafficPolicy" not in first
    consistent = {"consistentHash": {"httpHeaderName": "x-user", "maglev": {}}}
    assert second["trafficPolicy"] == {"loadBalancer": consistent}
    assert third["trafficPolicy"] == {"loadBalancer": {"simple": "RANDOM"}}
    alone = Version("v1", 1, ("model.ai.svc:80",), load_balancer=hashed)
    assert rule(Snapshot((policy(versions=(alone,)),)))["trafficPolicy"]["loadBalancer"] == consistent


def pooled(*, reject: bool) -> Snapshot:
    chosen = policy(versions=(Version("v1"),), gpu=Requirement("a100"), reject_without_gpu=reject)
    return Snapshot((chosen,), (GpuPool("west", WEST.gpu),))


@pytest.mark.parametrize(
    ("places", "tls", "fails_over"),
    [
        (("us-west1", "us-east1"), None, True),
        (("us", "us"), None, False),
        # A subset verifies one name.
        (("us-west1", "us-east1"), Tls(), False),
        (("us-west1", "us-east1"), Tls(server_name="models.example.com"), True),
    ],
)
def test_pools_in_other_places_stand_in_where_they_are_listed(
    places: tuple[str, str], tls: Tls | None, *, fails_over: bool
) -> None:
    pools = tuple(
        GpuPool(name, WEST.gpu, (server,), place, upstream=Upstream(tls), cluster=name)
        for name, server, place in zip(("west", "east"), ("10.0.0.1:80", "10.0.0.2:80"), places, strict=True)
    )
    snapshot = Snapshot((policy(versions=(Version("v1"),), gpu=Requirement("a100")),), pools)
    west = by_name(destination_rules(snapshot, DEFAULT)[0]["spec"]["subsets"])["v1-west"]
    if not fails_over:
        assert west["labels"] == {"version": "v1", "ai.istio.io/gpu-pool": "west"}
        return
    assert west["labels"] == {"version": "v1"}
    setting = west["trafficPolicy"]["loadBalancer"]["localityLbSetting"]
    order = ["topology.kubernetes.io/region=us-west1", "ai.istio.io/gpu-pool=west"]
    assert setting == {"enabled": True, "failoverPriority": order}
    assert west["trafficPolicy"]["outlierDetection"]["maxEjectionPercent"] == 100


def elsewhere(*places: str, **more: Any) -> Doc:
    """The subset of the first of pools in these places."""
    names = [f"pool-{number}" for number in range(len(places))]
    pools = tuple(
        GpuPool(name, WEST.gpu, (f"10.0.0.{number}:80",), place)
        for number, (name, place) in enumerate(zip(names, places, strict=True))
    )
    chosen = policy(versions=(Version("v1"),), gpu=Requirement("a100"), **more)
    return by_name(destination_rules(Snapshot((chosen,), pools), DEFAULT)[0]["spec"]["subsets"])["v1-pool-0"]


def test_stand_ins_are_those_of_the_zone_then_of_the_region() -> None:
    setting = elsewhere("us-west1/a/rack-1", "us-east1/b")["trafficPolicy"]["loadBalancer"]["localityLbSetting"]
    assert setting["failoverPriority"] == [
        "topology.kubernetes.io/region=us-west1",
        "topology.kubernetes.io/zone=a",
        "topology.istio.io/subzone=rack-1",
        "ai.istio.io/gpu-pool=pool-0",
    ]


def test_a_pool_without_a_place_stands_before_all_others() -> None:
    setting = elsewhere("", "us-east1", "us-west1")["trafficPolicy"]["loadBalancer"]["localityLbSetting"]
    assert setting["failoverPriority"] == ["ai.istio.io/gpu-pool=pool-0"]


def test_every_request_may_leave_a_pool_that_is_gone_unless_the_policy_has_a_budget() -> None:
    places = "us-west1", "us-east1"
    assert elsewhere(*places)["trafficPolicy"]["retryBudget"] == {"percent": 100.0, "minRetryConcurrency": 100}
    assert "retryBudget" not in elsewhere(*places, retry_budget=RetryBudget(0.1, 1))["trafficPolicy"], "the host's"


def test_a_pool_with_stand_ins_is_tried_again_after_five_seconds() -> None:
    ejection = elsewhere("us-west1", "us-east1")["trafficPolicy"]["outlierDetection"]
    assert (ejection["baseEjectionTime"], ejection["interval"]) == ("5s", "1s")
    assert rule(PLAIN)["trafficPolicy"]["outlierDetection"]["baseEjectionTime"] == "10s"


def test_a_pool_is_a_label() -> None:
    assert subsets(pooled(reject=True)) == {
        "v1-west": {"name": "v1-west", "labels": {"version": "v1", "ai.istio.io/gpu-pool": "west"}}
    }


def test_where_requests_may_go_on_without_a_gpu_the_pool_comes_first() -> None:
    subset = subsets(pooled(reject=False))["v1-west"]
    assert subset["labels"] == {"version": "v1"}
    assert subset["trafficPolicy"]["loadBalancer"]["localityLbSetting"] == {
        "enabled": True,
        "failoverPriority": ["ai.istio.io/gpu-pool=west"],
    }
    assert subset["trafficPolicy"]["outlierDetection"]["maxEjectionPercent"] == 100
