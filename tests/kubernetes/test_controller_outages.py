"""The controller where things break: killed in the middle of a pass, the API server restarted, etcd compacted."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.controllers import ControllerProcess, live
from tests.kubernetes.test_policies_carried_out import in_force, istio, policy, waits_for, wanted
from tests.manifests.crds import needed
from tests.waiting import until

__all__ = ["istio"]
pytestmark = [needed, pytest.mark.timeout(600)]
PATIENCE = 180
"""Seconds; after an outage the controller rests twice as long, and a minute at the most."""
BEFORE: dict[str, Any] = {"models": ["a"], "versions": [{"name": "v1", "weight": 9}, {"name": "v2", "weight": 1}]}
AFTER: dict[str, Any] = {"models": ["a"], "versions": [{"name": "v2", "weight": 9}, {"name": "v3", "weight": 1}]}


def test_killed_between_any_two_steps_of_a_pass(istio: ControlPlane, namespace: str) -> None:
    """Each time another controller takes over what is there, and makes it as it should be."""
    with ControllerProcess(istio, namespace):
        istio.apply(policy(namespace, **BEFORE))
        waits_for(istio, namespace)
        until(lambda: wanted(policy(namespace, **BEFORE))(istio), PATIENCE)
    specs = [AFTER, BEFORE]
    for turn in range(4):
        spec = specs[turn % 2]
        controller = ControllerProcess(istio, namespace)
        until(lambda controller=controller: "leads" in controller.said(), PATIENCE)  # type: ignore[misc]
        before = live(istio)
        istio.apply(policy(namespace, **spec))
        # A pass writes at its first, second, fifth and sixth step: it is killed after each of them in turn.
        until(lambda before=before: live(istio) != before, PATIENCE, pause=0.01 + turn * 0.15)  # type: ignore[misc]
        controller.end(signal.SIGKILL)
        with ControllerProcess(istio, namespace):
            until(lambda spec=spec: in_force(istio, namespace) == spec, PATIENCE)  # type: ignore[misc]
            until(lambda spec=spec: wanted(policy(namespace, **spec))(istio), PATIENCE)  # type: ignore[misc]
    with ControllerProcess(istio, namespace):
        istio.kubectl("delete", "mip", "--all", "-n", namespace)
        until(lambda: not live(istio), PATIENCE)


def test_the_api_server_restarts_and_etcd_forgets(istio: ControlPlane, namespace: str) -> None:
    with ControllerProcess(istio, namespace) as controller:
        istio.apply(policy(namespace, **BEFORE))
        waits_for(istio, namespace)
        istio.stop_api()
        istio.start_api()
        istio.compact()
        istio.apply(policy(namespace, **AFTER))
        until(lambda: in_force(istio, namespace) == AFTER, PATIENCE)
        until(lambda: wanted(policy(namespace, **AFTER))(istio), PATIENCE)
        istio.kubectl("delete", "mip", "--all", "-n", namespace)
        until(lambda: not live(istio), PATIENCE)
        assert controller.process.poll() is None
