"""Where targets are in the mesh; subsets that no two targets share, whatever their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.gpu import Gpu, Requirement
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version
from extproc.policy.upstream import PLAIN as PLAIN_HTTP
from extproc.policy.upstream import PathRewrite, Upstream
from extproc.render.istio.destinations import (
    Destination,
    apex_ports,
    destinations,
    entry_host,
    targets,
    targets_by_cluster,
)
from extproc.render.istio.manifests import IstioOptions, documents
from extproc.render.istio.service_entries import service_entries
from tests.unit.render.snapshots import A100, CANARY, MIRRORED, PLAIN, POOLED, policy

ALIKE = st.text("aA-._b", min_size=1, max_size=4).filter(lambda name: name[0] not in "-._" and name[-1] not in "-._")
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@given(
    st.lists(ALIKE, min_size=1, max_size=3, unique=True),
    st.lists(ALIKE, min_size=1, max_size=4, unique=True),
    st.lists(ALIKE, max_size=3, unique=True),
    st.booleans(),
)
def test_different_targets_are_different_destinations(
    policies: list[str], versions: list[str], pools: list[str], listed: bool
) -> None:
    """Names that a careless join would make the same: a-b and c, a and b-c, A and a."""
    served = tuple(Version(name, 1, (f"10.0.0.{i}:1",) if listed else ()) for i, name in enumerate(versions, 1))
    snapshot = Snapshot(
        tuple(
            Policy(name, "ai", host="one", models=(name,), versions=served, gpu=Requirement() if pools else None)
            for name in policies
        ),
        tuple(GpuPool(name, Gpu()) for name in pools),
    )
    found = destinations(snapshot, IstioOptions(), grpc=False)
    assert len({(destination.host, destination.subset) for destination in found.values()}) == len(found)
    assert all(LABEL.fullmatch(destination.subset) for destination in found.values())
    names = [
        (d["kind"], d["metadata"]["namespace"], d["metadata"]["name"]) for d in documents(snapshot, IstioOptions())
    ]
    assert len(set(names)) == len(names)


HOST, ENTRY = "chat.ai.svc.cluster.local", "chat.aimesh.internal"


def found_at(snapshot: Snapshot) -> list[tuple[str, int, str]]:
    return [
        (destination.host, destination.port, destination.subset)
        for destination in destinations(snapshot, IstioOptions(), grpc=False).values()
    ]


@pytest.mark.parametrize(
    ("endpoints", "destination"),
    [
        ((), (HOST, 8080, "v1")),
        (("chat:8080",), (HOST, 8080, "v1")),
        (("other.ai.svc:80",), ("other.ai.svc.cluster.local", 80, "")),
        (("other.ai.svc.cluster.local:80",), ("other.ai.svc.cluster.local", 80, "")),
        (("10.0.0.1:80",), (ENTRY, 8080, "v1")),
        (("[::1]:80",), (ENTRY, 8080, "v1")),
        (("model.example.com:80",), (ENTRY, 8080, "v1")),
        (("one.ai.svc:80", "two.ai.svc:80"), (ENTRY, 8080, "v1")),
    ],
)
def test_endpoints_decide(endpoints: tuple[str, ...], destination: tuple[str, int, str]) -> None:
    assert found_at(Snapshot((policy(versions=(Version("v1", 1, endpoints),)),))) == [destination]


@pytest.mark.parametrize(
    ("endpoints", "grpc_endpoints", "destination"),
    [
        ((), (), (HOST, 8080, "v1")),
        (("10.0.0.1:80",), (), (ENTRY, 8080, "v1")),
        ((), ("chat:8081",), (HOST, 8081, "v1")),
        ((), ("chat.ai.svc:8081",), (HOST, 8081, "v1")),
        (("10.0.0.1:80",), ("10.0.0.1:81",), (f"grpc.{ENTRY}", 8080, "v1")),
        (("10.0.0.1:80",), ("other.ai.svc:81",), ("other.ai.svc.cluster.local", 81, "")),
    ],
)
def test_grpc_has_a_destination_of_its_own_where_it_has_endpoints(
    endpoints: tuple[str, ...], grpc_endpoints: tuple[str, ...], destination: tuple[str, int, str]
) -> None:
    snapshot = Snapshot((policy(versions=(Version("v1", 1, endpoints, grpc_endpoints=grpc_endpoints),)),))
    (found,) = destinations(snapshot, IstioOptions(), grpc=True).values()
    assert (found.host, found.port, found.subset) == destination
    ports = [8080, *([found.port] if found.host == HOST and found.port != 8080 else [])]
    assert apex_ports(snapshot, IstioOptions()) == {"chat": ports}
    (target,) = targets(snapshot)["chat"]
    assert {cluster: [target] for cluster in found.clusters}.items() <= {
        cluster: list(reached) for cluster, reached in targets_by_cluster(snapshot, IstioOptions()).items()
    }.items()


def test_without_versions_and_pools_the_service_itself() -> None:
    assert found_at(PLAIN) == [("plain.ai.svc.cluster.local", 8080, "")]


def test_pools_are_subsets() -> None:
    assert found_at(POOLED) == [(ENTRY, 8080, "v1-west"), (ENTRY, 8080, "v1-east")]


def test_policies_on_one_host_have_their_names_in_subsets() -> None:
    both = (policy(versions=(Version("v1"),)), Policy("b", "ai", host="chat", versions=(Version("v1"),), models=("b",)))
    assert found_at(Snapshot(both)) == [(HOST, 8080, "chat-v1"), (HOST, 8080, "b-v1")]


def test_subsets_that_would_be_called_alike_are_digested() -> None:
    alike = policy(versions=(Version("a-b"), Version("a")), gpu=Requirement(), port=80)
    pools = (GpuPool("c", Gpu()), GpuPool("b-c", Gpu()))
    subsets = [subset for _, _, subset in found_at(Snapshot((alike,), pools))]
    assert len(set(subsets)) == 4
    assert {"a-c", "a-b-b-c"} < set(subsets), "where only one has the name, it stays"


def test_labels_and_reference() -> None:
    west, _ = destinations(POOLED, IstioOptions(), grpc=False).values()
    assert west.labels == {"version": "v1", "ai.istio.io/gpu-pool": "west"}
    assert west.reference == {"host": ENTRY, "subset": "v1-west", "port": {"number": 8080}}
    (plain,) = destinations(PLAIN, IstioOptions(), grpc=False).values()
    assert (plain.labels, "subset" in plain.reference) == ({}, False)


def test_targets_of_one_policy_only_mirrors_too() -> None:
    (chat,) = MIRRORED.policies
    assert [target.version for target in targets(MIRRORED)[chat.name]] == ["v1", "next"]
    both = Snapshot((*CANARY.policies, *PLAIN.policies))
    assert [target.policy for target in targets(both)["plain"]] == ["plain"]
    assert entry_host(Policy("A.b"), grpc=False).endswith(".aimesh.internal")
    assert entry_host(Policy("A.b"), grpc=False) != entry_host(Policy("a-b"), grpc=False)


def named(cluster: str, snapshot: Snapshot, **options: str) -> list[tuple[str, str]]:
    found = targets_by_cluster(snapshot, IstioOptions(**options)).get(cluster, ())  # type: ignore[arg-type]
    return [(target.policy, target.version) for target in found]


@pytest.mark.parametrize(
    ("cluster", "found"),
    [
        (f"outbound|8080|v2|{ENTRY}", [("chat", "v2")]),
        (f"inbound-vip|8080|http/v2|{ENTRY}", [("chat", "v2")]),
        (f"outbound|8080|v3|{ENTRY}", []),
        (f"outbound|8080||{ENTRY}", []),
        ("chat/v2", []),
    ],
)
def test_clusters_lead_to_targets(cluster: str, found: list[tuple[str, str]]) -> None:
    """The names are those that istiod gives: pilot/pkg/model/push_context.go, core/cluster_waypoint.go."""
    assert named(cluster, CANARY) == found


def test_a_cluster_of_several_targets() -> None:
    """Policies without versions on one host, and versions that are one Service."""
    plain = Snapshot(tuple(Policy(name, host="one", models=(name,)) for name in ("a", "b")))
    host = "one.ml.svc.cluster.local"
    assert named(f"outbound|8080||{host}", plain, namespace="ml") == [("a", ""), ("b", "")]
    assert named(f"inbound-vip|8080|http|{host}", plain, namespace="ml") == [("a", ""), ("b", "")]
    assert named(f"outbound|8080||{host}", plain) == []
    versions = tuple(Version(name, 1, ("other.ai.svc:80",)) for name in ("v1", "v2"))
    same = Snapshot((Policy("chat", "ai", host="chat", models=("m",), versions=versions),))
    assert named("outbound|80||other.ai.svc.cluster.local", same) == [("chat", "v1"), ("chat", "v2")]


def in_places(
    places: Sequence[str], server: str = "10.0.0.{}:80", last: Upstream = PLAIN_HTTP, *, ignore: bool = False
) -> dict[str, Destination]:
    """By pool the subset of pools in these places. ``last``: how the servers of the last one are spoken to."""
    upstreams = [PLAIN_HTTP] * (len(places) - 1) + [last]
    pools = tuple(
        GpuPool(f"p{number}", A100, (server.format(number),), place, upstream=upstream)
        for number, (place, upstream) in enumerate(zip(places, upstreams, strict=True))
    )
    chosen = policy(versions=(Version("v1"),), gpu=Requirement("a100"), reject_without_gpu=not ignore)
    found = destinations(Snapshot((chosen,), pools), IstioOptions(), grpc=False)
    return {target.pool: destination for target, destination in found.items()}


PARTS = st.lists(st.sampled_from(["a", "b"]), max_size=3).map("/".join)


def priority(destination: Destination, pool: str, place: str) -> int:
    """As istiod's ``applyFailoverPriorityPerLocality`` has it, of an endpoint of this pool in this place."""
    names = "topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"
    has = {name: part for name, part in zip(names, place.split("/"), strict=False) if part} | {
        "ai.istio.io/gpu-pool": pool
    }
    labels = [label.split("=") for label in destination.order]
    return next((len(labels) - at for at, (name, value) in enumerate(labels) if has.get(name) != value), 0)


@given(st.lists(PARTS, min_size=2, max_size=5).filter(lambda places: len({*places} - {""}) > 1))
def test_tiers_are_as_many_as_istiod_makes_and_the_pool_is_the_first(places: list[str]) -> None:
    for name, destination in in_places(places).items():
        ranks = {f"p{at}": priority(destination, f"p{at}", place) for at, place in enumerate(places)}
        assert [pool for pool, rank in ranks.items() if rank == 0] == [name]
        assert destination.tiers == len({*ranks.values()}) - 1


def test_a_place_whose_name_istiod_would_divide_is_none() -> None:
    assert in_places(["dc=1/a", "us/a", "eu/a"])["p0"].order == ("ai.istio.io/gpu-pool=p0",)


@pytest.mark.parametrize("ignore", [False, True])
@pytest.mark.parametrize(
    ("places", "more"),
    [
        (["us", "eu"], {"server": "m{}.example.com:80"}),
        (["us", "eu"], {"last": Upstream(path_rewrite=PathRewrite("/v1", "/v2"))}),
        (["us"], {}),
    ],
    ids=["by name", "another path", "alone"],
)
def test_none_stands_in(places: list[str], more: dict[str, Any], *, ignore: bool) -> None:
    found = in_places(places, ignore=ignore, **more)
    assert {(destination.order, destination.tiers) for destination in found.values()} == {((), 0)}


def test_one_name_has_all_of_an_entry_resolved() -> None:
    snapshot = Snapshot(
        (policy(versions=(Version("v1"),), gpu=Requirement("a100")),),
        tuple(
            GpuPool(f"p{number}", A100, (server,), place)
            for number, (server, place) in enumerate([("10.0.0.1:80", "us"), ("m.example.com:80", "eu")])
        ),
    )
    (entry,) = service_entries(snapshot, IstioOptions())
    assert entry["spec"]["resolution"] == "DNS"
    assert {d.tiers for d in destinations(snapshot, IstioOptions(), grpc=False).values()} == {0}


def test_calls_of_grpc_that_go_where_others_go_have_the_same_stand_ins() -> None:
    """One with names has gRPC elsewhere: the entry is resolved all the same."""
    servers = {"us": ("10.0.0.1:80", ""), "eu": ("10.0.0.2:80", ""), "ap": ("m.example.com:80", "10.0.0.3:81")}
    pools = tuple(
        GpuPool(place, A100, (server,), place, grpc_endpoints=(grpc,) if grpc else ())
        for place, (server, grpc) in servers.items()
    )
    snapshot = Snapshot((policy(versions=(Version("v1"),), gpu=Requirement("a100")),), pools)
    found = [destinations(snapshot, IstioOptions(), grpc=grpc).values() for grpc in (False, True)]
    assert [[destination.tiers for destination in each] for each in found] == [[0, 0, 0], [0, 0, 0]]
    assert [destination.host for destination in found[1]] == [ENTRY, ENTRY, f"grpc.{ENTRY}"]
