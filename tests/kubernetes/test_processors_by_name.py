"""Processors that Envoys find by a name of DNS: ``--processor dns:///NAME:PORT``, as of a headless Service."""

from __future__ import annotations

import pytest

from tests.kubernetes.live_mesh import PATIENCE, LiveMesh, policy
from tests.kubernetes.mesh_cluster import PROCESSOR_ADDRESSES, SERVICES
from tests.kubernetes.processor import ClusterProcessor
from tests.waiting import until

pytestmark = pytest.mark.timeout(600)
NAME = "aimesh-extproc-headless.processors.svc.cluster.local"


def test_every_processor_behind_the_name_is_asked(mesh: LiveMesh) -> None:
    for address in PROCESSOR_ADDRESSES:
        mesh.control_plane.name_address(address, NAME)
    chat = SERVICES[0]
    spec = {
        "models": ["chat-*"],
        "host": chat.host,
        "port": 8080,
        "versions": [{"name": "v1", "weight": 1}, {"name": "v2", "weight": 1}],
    }
    with mesh.controller(processor=f"dns:///{NAME}:50051"):
        mesh.apply([policy("chat", spec)])
        until(lambda: mesh.follows({"chat": spec}), PATIENCE, pause=0.2)
        for entrance in ("sidecar", "gateway"):
            until(lambda entrance=entrance: mesh.traffic.ask(entrance, "chat").version, PATIENCE, pause=0.2)  # type: ignore[misc]
        mesh.traffic.start()
        mesh.traffic.more(200)
        for processor in mesh.processors:
            until(lambda processor=processor: _has_observed(processor), PATIENCE)  # type: ignore[misc]
        mesh.apply_nothing()
        until(mesh.is_empty, PATIENCE, pause=0.2)
        mesh.check()


def _has_observed(processor: ClusterProcessor) -> bool:
    """Whether a request was observed by it: an Envoy sends its access log, which counts them, to one processor."""
    return "\ninference_observed_requests_total{" in processor.get("/metrics")[1]
