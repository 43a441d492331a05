"""The controller as `kubectl apply -k istio/controller` installs it: with exactly those rights it does all its work."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
import yaml

from extproc.cli.main import parser
from tests.house.tree import ROOT
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.controllers import ControllerProcess, live
from tests.kubernetes.test_policies_carried_out import PATIENCE, istio, policy, waits_for, wanted
from tests.manifests.crds import needed
from tests.waiting import until

__all__ = ["istio"]
pytestmark = [needed, pytest.mark.timeout(300)]
SYSTEM = "aimesh-system"


@pytest.fixture
def installed(istio: ControlPlane) -> Iterator[ControlPlane]:
    istio.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
    folder = str(ROOT / "istio" / "controller")
    kustomized = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=True).stdout  # noqa: S607
    istio.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", input=kustomized)
    yield istio
    istio.kubectl("delete", "-f", "-", "--wait=false", input=kustomized)


def test_its_rights_are_enough(installed: ControlPlane, namespace: str) -> None:
    kubeconfig = installed.service_account(SYSTEM, "aimesh-controller")
    lease = f"--lease={SYSTEM}/aimesh-controller"
    with ControllerProcess(installed, namespace, lease, kubeconfig=kubeconfig) as controller:
        for spec in (
            {"versions": [{"name": "v1"}]},
            {"versions": [{"name": "v2", "endpoints": ["192.0.2.1:80"]}], "host": "other"},
        ):
            chat = policy(namespace, models=["a"], **spec)
            installed.kubectl("apply", "-f", "-", input=yaml.safe_dump(chat))
            waits_for(installed, namespace)
            until(lambda chat=chat: wanted(chat)(installed), PATIENCE)  # type: ignore[misc]
        events = installed.kubectl("get", "events", "-n", namespace, "-o", "jsonpath={.items[*].reason}").split()
        assert "Programmed" in events
        installed.kubectl("delete", "mip", "--all", "-n", namespace)
        until(lambda: not live(installed), PATIENCE)
        assert controller.end() == 0
        assert "forbidden" not in controller.said()
    holder = installed.kubectl(
        "get", "lease", "aimesh-controller", "-n", SYSTEM, "-o", "jsonpath={.spec.holderIdentity}"
    )
    assert holder == ""


def test_the_controller_takes_its_arguments() -> None:
    (deployment,) = yaml.safe_load_all((ROOT / "istio" / "controller" / "deployment.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    arguments = parser().parse_args(container["args"])
    assert (arguments.mesh, arguments.lease) == ("istio", (SYSTEM, "aimesh-controller"))
