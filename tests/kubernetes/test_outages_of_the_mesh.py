"""Controllers killed in the middle of a pass, an API server that restarts or stays away, an etcd that forgets: under
load by a sidecar and a gateway that a real istiod drives, no request fails, and in the end all is as it should be.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from typing import Any

import pytest

from extproc.render.istio.istio_options import VERSION_LABEL
from tests.kubernetes.controllers import live, versions
from tests.kubernetes.live_mesh import PATIENCE, LiveMesh, policy, pool
from tests.kubernetes.mesh_cluster import SERVICES
from tests.waiting import until

pytestmark = pytest.mark.timeout(3600)
AWAY = float(os.environ.get("EXTPROC_TEST_AWAY", "15"))
"""Seconds that the API server is away."""
KILLS = 4
"""How often a leader is killed once its pass has begun to write, each time later in it."""


def wanted(first: str, second: str, header: str) -> dict[str, dict[str, Any]]:
    """Policies of two versions."""
    versions = [{"name": first, "weight": 5}, {"name": second, "weight": 5}]
    return {
        service.name: {
            "models": [f"{service.name}-*"],
            "host": service.host,
            "port": 8080,
            "versions": versions,
            "sticky": {"header": header},
            "gpuRequirements": {"architecture": "8.0+"},
            "onNoGpu": "ignore",
        }
        for service in SERVICES
    }


STATES = (wanted("v1", "v2", "x-user"), wanted("v2", "v3", "x-tenant"))


class Outage:
    """A mesh under load, whose policies go from one state to another."""

    def __init__(self, mesh: LiveMesh) -> None:
        self.mesh = mesh
        self._turn = 0
        self.change()
        mesh.apply([pool("west"), pool("east")])

    def change(self) -> None:
        """Applies the other state."""
        self._turn += 1
        self.mesh.apply([policy(name, spec) for name, spec in STATES[self._turn % 2].items()])

    def has_changed(self) -> bool:
        return self.mesh.follows(STATES[self._turn % 2])

    def is_over(self) -> bool:
        """Whether the pass is, whose last step takes away the subsets of the version that goes."""
        rules = [one["spec"] for key, one in live(self.mesh.control_plane).items() if key.kind == "DestinationRule"]
        there = {subset["labels"][VERSION_LABEL] for rule in rules for subset in rule["subsets"]}
        specs = STATES[self._turn % 2].values()
        return self.has_changed() and there == {version["name"] for spec in specs for version in spec["versions"]}


def test_no_request_fails(mesh: LiveMesh) -> None:
    control_plane = mesh.control_plane
    with ExitStack() as stack:
        controllers = [stack.enter_context(mesh.controller())]
        outage = Outage(mesh)
        until(outage.has_changed, PATIENCE, pause=0.2)
        mesh.traffic.start()
        begun = mesh.traffic.answered
        outage.change()
        until(outage.has_changed, PATIENCE, pause=0.2)
        answers = 2 * (mesh.traffic.answered - begun)  # in a pass: it is in force after some half of it
        for kill in range(KILLS):
            controllers.append(stack.enter_context(mesh.controller()))
            until(outage.is_over, PATIENCE, pause=0.2)
            before = versions(live(control_plane))
            outage.change()
            until(lambda before=before: versions(live(control_plane)) != before, PATIENCE)  # type: ignore[misc]
            mesh.traffic.more(answers * kill // KILLS)
            controllers[-2].end(signal.SIGKILL)
            until(outage.has_changed, PATIENCE, pause=0.2)
            mesh.traffic.more(100)
            mesh.nothing_is_wrong()
        outage.change()
        until(lambda: controllers[-1].identity(), PATIENCE)
        control_plane.stop_api()
        mesh.traffic.more(100)
        control_plane.start_api()
        control_plane.compact()
        until(outage.has_changed, PATIENCE, pause=0.2)
        outage.change()
        control_plane.stop_api()
        gone = time.monotonic()
        while time.monotonic() < gone + AWAY:
            mesh.traffic.more(100)
        control_plane.start_api()
        until(outage.has_changed, PATIENCE, pause=0.2)
        mesh.apply_nothing()
        until(mesh.is_empty, PATIENCE, pause=0.2)
        assert controllers[-1].process.poll() is None
        mesh.check()
    print(f"\n{mesh.traffic.answered} answers, the API server away for {AWAY:g} s")
