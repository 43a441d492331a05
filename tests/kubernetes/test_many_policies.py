"""Many policies at once: EXTPROC_TEST_POLICIES of them (100), with times and memory as they were (-s shows them)."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.controllers import ControllerProcess, live, versions
from tests.kubernetes.test_policies_carried_out import in_force, istio, policy
from tests.manifests.crds import needed
from tests.waiting import until

__all__ = ["istio"]
pytestmark = [needed, pytest.mark.timeout(3600)]
POLICIES = int(os.environ.get("EXTPROC_TEST_POLICIES", "100"))
PATIENCE = 1200


def spec(number: int, weight: int = 9) -> dict[str, Any]:
    two = [{"name": "v1", "weight": weight}, {"name": "v2", "weight": 1}]
    return {"models": [f"m{number}"], "host": f"h{number}", "versions": two}


def test_many_policies_come_one_changes_and_all_go(istio: ControlPlane, namespace: str) -> None:
    istio.apply(*(policy(namespace, f"p{number}", **spec(number)) for number in range(POLICIES)))
    with ControllerProcess(istio, namespace) as controller:
        until(lambda: "leads" in controller.said(), PATIENCE)
        began = time.monotonic()
        until(lambda: _programmed(istio, namespace) == POLICIES, PATIENCE, pause=0.2)
        first = time.monotonic() - began
        before = versions(live(istio))
        assert len(before) == 2 * POLICIES + 2
        began = time.monotonic()
        istio.apply(policy(namespace, "p7", **spec(7, weight=5)))
        until(lambda: in_force(istio, namespace, "p7") == spec(7, weight=5), PATIENCE)
        change = time.monotonic() - began
        after = versions(live(istio))
        written = sorted(str(key) for key, version in after.items() if before[key] != version)
        resident = Path(f"/proc/{controller.process.pid}/status").read_text().partition("VmRSS:")[2].split()[0]
        memory = f"{int(resident) >> 10} MiB"
        print(f"\n{POLICIES} policies: all after {first:.1f} s, one change after {change:.1f} s, {memory}")
        assert written == [f"VirtualService {namespace}/aimesh-h7-{namespace}"]
        istio.kubectl("delete", "mip", "--all", "-n", namespace)
        until(lambda: not live(istio), PATIENCE)


def _programmed(control_plane: ControlPlane, namespace: str) -> int:
    columns = 'jsonpath={.items[*].status.conditions[?(@.type=="Programmed")].status}'
    return control_plane.kubectl("get", "mip", "-n", namespace, "-o", columns).split().count("True")
