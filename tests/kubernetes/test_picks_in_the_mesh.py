"""Servers that the processor picks, in a mesh: clusters are a real istiod's, patched by our EnvoyFilter."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest

from tests.kubernetes.live_mesh import PATIENCE, LiveMesh, policy
from tests.kubernetes.mesh_cluster import PODS
from tests.kubernetes.mesh_envoys import MeshEnvoy
from tests.kubernetes.mesh_traffic import PICKED, Answer
from tests.waiting import until

pytestmark = pytest.mark.timeout(600)
REQUESTS = 100
"""At each entrance."""
ADDRESS = {pod.name: f"{pod.address}:8080" for pod in PODS}
_SERVED = re.compile(r'^inference_picks_served_total\{.*by="(\w+)".*\} ([0-9.e+]+)$', re.MULTILINE)


def endpoints(version: str) -> list[str]:
    return [f"{pod.address}:8080" for pod in PODS if (pod.service, pod.version) == ("chat", version)]


def spec(**more: Any) -> dict[str, Any]:
    versions = [{"name": name, "weight": w, "endpoints": endpoints(name)} for name, w in (("v1", 3), ("v2", 1))]
    found = {"models": ["chat-*"], "host": "chat", "port": 8080, "versions": versions}
    return found | {"picking": {"by": "round-robin"}} | more


def clusters(envoy: MeshEnvoy) -> dict[str, dict[str, Any]]:
    """Those of istiod's that lead to the policy's servers, by subset."""
    dump = json.loads(envoy.ask("/config_dump?resource=dynamic_active_clusters")[1])["configs"]
    found = {one["cluster"]["name"]: one["cluster"] for one in dump}
    mine = {name.split("|")[2]: each for name, each in found.items() if name.endswith("|chat.aimesh.internal")}
    mine.pop("", None)
    return mine


def picks(mesh: LiveMesh) -> Counter[str]:
    """Requests that ended, by who served them, as the proxies' access logs told the processors."""
    found: Counter[str] = Counter()
    for processor in mesh.processors:
        for by, count in _SERVED.findall(processor.get("/metrics")[1]):
            found[by] += int(float(count))
    return +found


def carried_out(mesh: LiveMesh, wanted: dict[str, Any]) -> None:
    mesh.apply([policy("chat", wanted)])
    until(lambda: mesh.follows({"chat": wanted}), PATIENCE, pause=0.2)
    for entrance in ("sidecar", "gateway"):
        until(lambda entrance=entrance: PICKED in mesh.traffic.ask(entrance, "chat").told, PATIENCE, pause=0.2)  # type: ignore[misc]


def test_each_request_reaches_the_server_that_was_picked(mesh: LiveMesh) -> None:
    with mesh.controller("--for", "sidecar"):
        carried_out(mesh, spec())
        for envoy in mesh.envoys:
            found = clusters(envoy)
            assert set(found) == {"v1", "v2"}, envoy.kind
            for cluster in found.values():
                (only,) = cluster["load_balancing_policy"]["policies"]
                assert only["typed_extension_config"]["name"] == "envoy.load_balancing_policies.override_host"
                assert (cluster["type"], cluster["lb_policy"]) == ("EDS", "LEAST_REQUEST")
                assert cluster["outlier_detection"]["consecutive_gateway_failure"] == 5
        told: list[Answer] = []
        for entrance in ("sidecar", "gateway"):
            asked = [mesh.traffic.ask(entrance, "chat") for _ in range(REQUESTS)]
            elsewhere = [a for a in asked if a.told[PICKED].split(",")[0] != ADDRESS[a.by]]
            by = Counter(answer.by for answer in asked)
            print(f"\n{entrance}: {len(elsewhere)} of {REQUESTS} by a server that was not picked; {dict(by)}")
            assert elsewhere == []
            assert len(by) == 4
            assert 55 <= sum(answer.version == "v1" for answer in asked) <= 92, "three of four"
            told += asked
        mesh.nothing_is_wrong()
        until(lambda: picks(mesh).total() >= len(told), PATIENCE, pause=0.2)
        assert set(picks(mesh)) == {"picked"}, "as the proxies' access logs tell it"
        for envoy in mesh.envoys:
            assert envoy.rejected() == {}, envoy.said()
        mesh.apply_nothing()
        until(mesh.is_empty, PATIENCE, pause=0.2)
