"""Many policies at once: EXTPROC_TEST_POLICIES of them (100), with times and memory as they were (-s shows them)."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from extproc.render.istio.istio_options import part_name, part_of
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.controllers import ControllerProcess, live, versions
from tests.kubernetes.test_policies_carried_out import in_force, istio, policy
from tests.manifests.crds import needed
from tests.waiting import until

__all__ = ["istio"]
pytestmark = [needed, pytest.mark.timeout(3600)]
POLICIES = int(os.environ.get("EXTPROC_TEST_POLICIES", "100"))
PATIENCE = 3000


def spec(number: int, weight: int = 9) -> dict[str, Any]:
    two = [{"name": "v1", "weight": weight}, {"name": "v2", "weight": 1}]
    return {"models": [f"m{number}"], "host": f"h{number}", "versions": two}


def test_many_policies_come_one_changes_and_all_go(istio: ControlPlane, namespace: str) -> None:
    istio.apply(*(policy(namespace, f"p{number}", **spec(number)) for number in range(POLICIES)))
    with ControllerProcess(istio, namespace, "--for", "gateway", "--gateway", f"{namespace}/gateway") as controller:
        until(lambda: "leads" in controller.said(), PATIENCE)
        began = time.monotonic()
        until(lambda: _programmed(istio, namespace) == POLICIES, PATIENCE, pause=3)
        first = time.monotonic() - began
        before = versions(live(istio))
        hosts = [key for key in before if key.kind == "VirtualService" and not key.name.startswith("aimesh-gateway")]
        assert len(hosts) == POLICIES
        began = time.monotonic()
        istio.apply(policy(namespace, "p7", **spec(7, weight=5)))
        until(lambda: in_force(istio, namespace, "p7") == spec(7, weight=5), PATIENCE, pause=0.2)
        change = time.monotonic() - began
        after = versions(live(istio))
        divided = any("-part-" in key.name for key in before)
        shared = part_name("aimesh-gateway", part_of("m7")) if divided else "aimesh-gateway"
        written = sorted(str(key) for key, version in after.items() if before[key] != version)
        print(f"\n{POLICIES} policies: all after {first:.1f} s, one change after {change:.1f} s, {_used(controller)}")
        assert written == sorted(f"VirtualService {namespace}/{name}" for name in (f"aimesh-h7-{namespace}", shared))
        istio.kubectl("delete", "mip", "--all", "-n", namespace)
        until(lambda: not live(istio), PATIENCE)


def _used(controller: ControllerProcess) -> str:
    process = Path(f"/proc/{controller.process.pid}")
    resident = int((process / "status").read_text().partition("VmRSS:")[2].split()[0]) >> 10
    user, system = map(int, (process / "stat").read_text().rpartition(")")[2].split()[11:13])
    return f"{resident} MiB and {(user + system) / os.sysconf('SC_CLK_TCK'):.0f} s of a CPU so far"


def _programmed(control_plane: ControlPlane, namespace: str) -> int:
    columns = 'jsonpath={.items[*].status.conditions[?(@.type=="Programmed")].status}'
    return control_plane.kubectl("get", "mip", "-n", namespace, "-o", columns).split().count("True")
