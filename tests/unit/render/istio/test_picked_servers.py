"""Patches by which proxies send requests to the servers that are picked."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from extproc.policy.gpu import Requirement
from extproc.policy.load_balancer import LoadBalancer
from extproc.policy.picking import Picking
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.render.envoy.clusters import load_balancing_policy
from extproc.render.istio.destination_rules import destination_rules
from extproc.render.istio.envoy_filters import MAX_PATCHES, envoy_filters
from extproc.render.istio.istio_options import IstioOptions, ProxyKind
from extproc.render.istio.picked_servers import picking_patches
from tests.unit.render.snapshots import CANARY, EAST, WEST, Doc, by_name, policy

OPTIONS = IstioOptions()
PICKING = Snapshot((msgspec.structs.replace(CANARY.policies[0], picking=Picking()),))
OFF = {"enabled": False}


def patched(snapshot: Snapshot) -> dict[str, Doc]:
    """The values that are merged, by cluster."""
    found = [patch for _, patch in picking_patches(snapshot, OPTIONS, "GATEWAY")]
    assert all(
        (p["applyTo"], p["patch"]["operation"], p["match"]["context"]) == ("CLUSTER", "MERGE", "GATEWAY") for p in found
    )
    return {patch["match"]["cluster"]["name"]: patch["patch"]["value"] for patch in found}


def clusters(document: Doc) -> list[str]:
    found = [p["match"]["cluster"]["name"] for p in document["spec"]["configPatches"] if p["applyTo"] == "CLUSTER"]
    assert len(found) == len(set(found))
    return found


def test_each_cluster_of_a_policy_that_picks_is_patched_once() -> None:
    assert patched(PICKING) == {
        f"outbound|8080|{version}|chat.aimesh.internal": {
            "load_balancing_policy": load_balancing_policy(LoadBalancer("leastRequest"))
        }
        for version in ("v1", "v2")
    }
    assert patched(CANARY) == {}


def test_calls_of_grpc_have_clusters_of_their_own() -> None:
    version = Version("v1", 1, ("10.0.1.1:80",), grpc_endpoints=("10.0.1.1:81",))
    snapshot = Snapshot((policy(versions=(version,), picking=Picking()), Policy("other", models=("other",))))
    assert list(patched(snapshot)) == [
        "outbound|8080|v1|chat.aimesh.internal",
        "outbound|8080|v1|grpc.chat.aimesh.internal",
    ]


def test_where_no_server_is_picked_the_load_balancer_of_the_target_decides() -> None:
    versions = Version("v1", 1, load_balancer=LoadBalancer("random")), Version("v2", 1)
    found = patched(Snapshot((policy(versions=versions, picking=Picking()),)))
    of = {name.split("|")[2]: value["load_balancing_policy"] for name, value in found.items()}
    assert of == {
        "v1": load_balancing_policy(LoadBalancer("random")),
        "v2": load_balancing_policy(LoadBalancer("leastRequest")),
    }


@pytest.mark.parametrize(("kind", "number"), [("gateway", 2), ("sidecar", 2), ("waypoint", 0), ("inbound", 0)])
def test_proxies_that_know_servers_by_address_get_them(kind: ProxyKind, number: int) -> None:
    snapshot = Snapshot((msgspec.structs.replace(PICKING.policies[0], selector=(("app", "chat"),)),))
    (document,) = envoy_filters(snapshot, IstioOptions(proxies=(kind,)))
    assert len(clusters(document)) == number


def test_very_many_are_divided_like_the_hosts() -> None:
    policies = tuple(
        policy(host=f"host-{n}", models=(f"m{n}",), picking=Picking(), versions=(Version("v1"),))
        for n in range(MAX_PATCHES)
    )
    named = tuple(msgspec.structs.replace(each, name=f"p{n}") for n, each in enumerate(policies))
    first, *parts = envoy_filters(Snapshot(named), IstioOptions(proxies=("gateway",)))
    assert clusters(first) == []
    assert sum(len(clusters(part)) for part in parts) == MAX_PATCHES


def balancing(snapshot: Snapshot) -> tuple[Any, dict[str, Doc]]:
    """That of the host, and the subsets."""
    (rule,) = destination_rules(snapshot, OPTIONS)
    return rule["spec"]["trafficPolicy"]["loadBalancer"], by_name(rule["spec"].get("subsets", []))


def test_envoy_is_not_asked_to_weigh_localities_as_well() -> None:
    """It would refuse such a cluster."""
    assert balancing(PICKING)[0] == {"simple": "LEAST_REQUEST", "localityLbSetting": OFF}
    assert balancing(CANARY)[0] == {"simple": "LEAST_REQUEST"}
    chosen = policy(versions=(Version("v1"),), gpu=Requirement("a100"), reject_without_gpu=False, picking=Picking())
    _, subsets = balancing(Snapshot((chosen,), (WEST, EAST)))
    assert "trafficPolicy" not in subsets["v1-west"]
    assert subsets["v1-west"]["labels"] == {"version": "v1", "ai.istio.io/gpu-pool": "west"}


@pytest.mark.parametrize("turn", [1, -1])
def test_a_service_that_two_policies_name_is_picked_from_if_either_does(turn: int) -> None:
    alone = Version("v1", 1, ("model.ai.svc:80",))
    first = policy(versions=(alone,), picking=Picking())
    second = msgspec.structs.replace(first, name="b", models=("b",), picking=None)
    found, _ = balancing(Snapshot((first, second)[::turn]))
    assert found == {"simple": "LEAST_REQUEST", "localityLbSetting": OFF}


def test_of_one_host_only_the_subsets_that_are_picked_from() -> None:
    first, second = policy(versions=(Version("v1"),)), policy(versions=(Version("v1"),), picking=Picking())
    second = msgspec.structs.replace(second, name="b", models=("b",))
    found, subsets = balancing(Snapshot((first, second)))
    assert found == {"simple": "LEAST_REQUEST"}
    assert "loadBalancer" not in subsets["chat-v1"].get("trafficPolicy", {})
    assert subsets["b-v1"]["trafficPolicy"]["loadBalancer"] == {"simple": "LEAST_REQUEST", "localityLbSetting": OFF}
    found, subsets = balancing(Snapshot((second, first)))
    assert found == {"simple": "LEAST_REQUEST", "localityLbSetting": OFF}
    assert subsets["chat-v1"]["trafficPolicy"]["loadBalancer"] == {"simple": "LEAST_REQUEST"}


@pytest.mark.parametrize("turned", [False, True])
def test_subsets_do_not_take_over_how_another_policy_of_their_host_balances(turned: bool) -> None:
    versions = tuple(msgspec.structs.replace(version, endpoints=()) for version in CANARY.policies[0].versions)
    picking = msgspec.structs.replace(PICKING.policies[0], versions=versions)
    balancer = LoadBalancer("roundRobin")
    whole = msgspec.structs.replace(
        picking, name="whole", models=("w",), versions=(), picking=None, load_balancer=balancer
    )
    policies = (whole, picking) if turned else (picking, whole)
    (rule,) = destination_rules(Snapshot(policies), OPTIONS)
    assert rule["spec"]["trafficPolicy"]["loadBalancer"] == {"simple": "ROUND_ROBIN"}
    own = [subset["trafficPolicy"]["loadBalancer"] for subset in rule["spec"]["subsets"]]
    assert own == [{"simple": "LEAST_REQUEST", "localityLbSetting": OFF}] * 2
