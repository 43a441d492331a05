"""Bootstrap of the gateway's Envoy: apexes and mirrors as upstreams, and what the probe port gives away."""

from __future__ import annotations

from typing import Any

from linkerd_adapter import plan
from linkerd_adapter.gateway import envoy_options
from linkerd_adapter.gateway_bootstrap import bootstrap, snapshot_to_apexes

from extproc.policy.gpu import Requirement, describe
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version

APP = (("app", "chat"),)
CANARY = Policy(
    "chat",
    "ai",
    APP,
    "chat",
    versions=(Version("v1", 9), Version("v2", 1), Version("shadow", 0, ("10.0.0.1:80",), mirror=20)),
    default="v2",
)


def document(*policies: Policy, http2: bool = False) -> dict[str, Any]:
    snapshot = Snapshot(policies)
    made = plan.make(snapshot, "ai")
    admin = "unix:///run/admin.sock"
    return bootstrap(snapshot, made, envoy_options(), probes="0.0.0.0:9090", processor_admin=admin, http2=http2)


def clusters(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {cluster["name"]: cluster for cluster in found["static_resources"]["clusters"]}


def addresses(found: dict[str, Any]) -> set[str]:
    """Host and port of every endpoint, of unix sockets the path."""
    ends = [
        end["endpoint"]["address"]
        for cluster in found["static_resources"]["clusters"]
        for group in cluster.get("load_assignment", {}).get("endpoints", [])
        for end in group["lb_endpoints"]
    ]
    sockets = [a["socket_address"] for a in ends if "socket_address" in a]
    return {f"{s['address']}:{s['port_value']}" for s in sockets} | {a["pipe"]["path"] for a in ends if "pipe" in a}


def test_all_versions_go_to_the_apex_and_mirrors_to_their_own_service() -> None:
    made = plan.make(Snapshot((CANARY,)), "ai")
    (policy,) = snapshot_to_apexes(Snapshot((CANARY,)), made).policies
    assert [(v.name, v.endpoints, v.mirror) for v in policy.versions] == [
        ("", ("chat.ai.svc.cluster.local:8080",), 0),
        ("shadow", ("chat-shadow.ai.svc.cluster.local:8080",), 20),
    ]
    assert (policy.default, policy.name, policy.models) == ("", "chat", CANARY.models)


def test_pools_are_not_the_gateways_to_choose() -> None:
    policy = Policy("chat", "ai", APP, "chat", gpu=Requirement("b200"))
    snapshot = Snapshot((policy,))
    (own,) = snapshot_to_apexes(snapshot, plan.make(snapshot, "ai")).policies
    assert own.gpu is None
    assert own.versions[0].endpoints == ("chat.ai.svc.cluster.local:8080",)


def test_a_mirror_that_nothing_serves_is_left_out() -> None:
    mirrored = Policy(
        "chat", "ai", APP, "chat", versions=(Version("v1"), Version("m", 0, mirror=5)), gpu=Requirement("b200")
    )
    snapshot = Snapshot((mirrored,), (GpuPool("t4", describe("Tesla-T4")),))
    (policy,) = snapshot_to_apexes(snapshot, plan.make(snapshot, "ai")).policies
    assert [version.name for version in policy.versions] == [""]


def test_upstreams() -> None:
    found = addresses(document(CANARY))
    assert {"chat.ai.svc.cluster.local:8080", "chat-shadow.ai.svc.cluster.local:8080"} <= found
    assert "10.0.0.1:80" not in found, "Linkerd dials it, behind its Service"
    assert "/run/admin.sock" in found


def test_the_probe_port_shows_six_paths_and_no_more() -> None:
    listener = document(CANARY)["static_resources"]["listeners"][-1]
    assert listener["name"] == "probes"
    assert listener["address"]["socket_address"] == {"address": "0.0.0.0", "port_value": 9090}
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    assert manager["normalize_path"] is True
    (host,) = manager["route_config"]["virtual_hosts"]
    shown = {r["match"]["path"]: (r["route"]["cluster"], r["route"]["prefix_rewrite"]) for r in host["routes"]}
    assert shown == {
        "/metrics": ("processor-admin", "/metrics"),
        "/healthz": ("processor-admin", "/healthz"),
        "/readyz": ("processor-admin", "/readyz"),
        "/evidence": ("processor-admin", "/evidence"),
        "/envoy/ready": ("envoy-admin", "/ready"),
        "/envoy/metrics": ("envoy-admin", "/stats/prometheus"),
    }
    assert all(set(r["match"]) == {"path"} for r in host["routes"]), "a prefix would open the admin ports"


def test_http_2_is_for_every_upstream_where_it_is_asked_for() -> None:
    def kinds(*, http2: bool) -> set[str]:
        options = [
            option
            for cluster in clusters(document(CANARY, http2=http2)).values()
            for option in cluster.get("typed_extension_protocol_options", {}).values()
        ]
        return {kind for option in options for kind in option["explicit_http_config"]}

    assert "http_protocol_options" in kinds(http2=False)
    assert kinds(http2=True) == {"http2_protocol_options"}
