"""ServiceEntries: endpoints that are in no Service of the cluster."""

from __future__ import annotations

from extproc.policy.gpu import Gpu
from extproc.policy.snapshot import GpuPool, Snapshot, Version
from extproc.render.istio.istio_options import IstioOptions
from extproc.render.istio.service_entries import service_entries
from tests.unit.render.snapshots import CANARY, PLAIN, POOLED, WEST, policy

DEFAULT = IstioOptions()


def test_entries_are_only_for_endpoints_in_no_service() -> None:
    assert service_entries(PLAIN, DEFAULT) == []
    in_services = policy(versions=(Version("v1", 1, ("other.ai.svc:80",)), Version("v2")))
    assert service_entries(Snapshot((in_services,)), DEFAULT) == []


def test_an_entry() -> None:
    (found,) = service_entries(CANARY, DEFAULT)
    assert (found["kind"], found["metadata"]["name"]) == ("ServiceEntry", "aimesh-chat")
    assert found["spec"] == {
        "hosts": ["chat.aimesh.internal"],
        "location": "MESH_EXTERNAL",
        "ports": [{"number": 8080, "name": "http", "protocol": "HTTP"}],
        "resolution": "STATIC",
        "endpoints": [
            {"address": "10.0.1.1", "ports": {"http": 80}, "labels": {"version": "v1"}},
            {"address": "10.0.1.2", "ports": {"http": 80}, "labels": {"version": "v2"}},
        ],
    }


def test_grpc_has_an_entry_of_its_own() -> None:
    both = policy(versions=(Version("v1", 1, ("10.0.0.1:80",), grpc_endpoints=("10.0.0.1:81", "10.0.0.2:81")),))
    plain, grpc = service_entries(Snapshot((both,)), DEFAULT)
    assert [one["metadata"]["name"] for one in (plain, grpc)] == ["aimesh-chat", "aimesh-chat.grpc"]
    assert [one["ports"] for one in plain["spec"]["endpoints"]] == [{"http": 80}]
    assert grpc["spec"]["hosts"] == ["grpc.chat.aimesh.internal"]
    assert grpc["spec"]["ports"] == [{"number": 8080, "name": "grpc", "protocol": "GRPC"}]
    assert [one["ports"] for one in grpc["spec"]["endpoints"]] == [{"grpc": 81}, {"grpc": 81}]


def test_endpoints_of_the_mesh_have_sidecars() -> None:
    (found,) = service_entries(CANARY, IstioOptions(meshed_endpoints=True))
    assert found["spec"]["location"] == "MESH_INTERNAL"
    assert all(one["labels"]["security.istio.io/tlsMode"] == "istio" for one in found["spec"]["endpoints"])


def test_pools_have_a_locality_and_ipv6_no_brackets() -> None:
    east = GpuPool("east", Gpu(architecture="a100"), ("[::1]:80",), "us/east")
    (found,) = service_entries(Snapshot(POOLED.policies, (WEST, east)), DEFAULT)
    endpoints = found["spec"]["endpoints"]
    assert [one.get("locality") for one in endpoints] == [None, None, "us/east"]
    assert endpoints[2]["address"] == "::1"
    assert found["spec"]["resolution"] == "STATIC"


def test_a_name_among_endpoints_needs_dns() -> None:
    named = policy(versions=(Version("v1", 1, ("10.0.0.1:80", "model.example.com:443")),))
    (found,) = service_entries(Snapshot((named,)), DEFAULT)
    assert found["spec"]["resolution"] == "DNS"
