"""The controller as `kubectl apply -k` installs it for each mesh: with exactly those rights it does all its work."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from extproc.cli.main import parser
from tests.house.tree import ROOT
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.controllers import ControllerProcess, live
from tests.kubernetes.test_controller_linkerd import linkerd
from tests.kubernetes.test_controller_linkerd import live as linkerd_objects
from tests.kubernetes.test_policies_carried_out import PATIENCE, istio, policy, waits_for, wanted
from tests.manifests.crds import needed
from tests.waiting import until

__all__ = ["istio", "linkerd"]
pytestmark = [needed, pytest.mark.timeout(300)]
SYSTEM = "aimesh-system"
SHARED = {"CustomResourceDefinition", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "Namespace"}
"""Kinds whose objects other tests need as well, or that would take those away."""


@contextmanager
def installed(control_plane: ControlPlane, folder: str) -> Iterator[Path]:
    """What a kustomization has, but for what all tests share; a kubeconfig with the rights of its controller."""
    control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
    command = ["kubectl", "kustomize", str(ROOT / folder)]
    documents = yaml.safe_load_all(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    kustomized = yaml.safe_dump_all(one for one in documents if one["kind"] not in SHARED)
    control_plane.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", input=kustomized)
    yield control_plane.service_account(SYSTEM, "aimesh-controller")
    control_plane.kubectl("delete", "-f", "-", "--wait=false", input=kustomized)


def test_on_istio_its_rights_are_enough(istio: ControlPlane, namespace: str) -> None:
    lease = f"--lease={SYSTEM}/aimesh-controller"
    with (
        installed(istio, "istio/controller") as kubeconfig,
        ControllerProcess(istio, namespace, lease, kubeconfig=kubeconfig) as controller,
    ):
        for spec in (
            {"versions": [{"name": "v1"}]},
            {"versions": [{"name": "v2", "endpoints": ["192.0.2.1:80"]}], "host": "other"},
        ):
            chat = policy(namespace, models=["a"], **spec)
            istio.kubectl("apply", "-f", "-", input=yaml.safe_dump(chat))
            waits_for(istio, namespace)
            until(lambda chat=chat: wanted(chat)(istio), PATIENCE)  # type: ignore[misc]
        events = istio.kubectl("get", "events", "-n", namespace, "-o", "jsonpath={.items[*].reason}").split()
        assert "Programmed" in events
        istio.kubectl("delete", "mip", "--all", "-n", namespace)
        until(lambda: not live(istio), PATIENCE)
        assert controller.end() == 0
        assert "forbidden" not in controller.said()
    holder = istio.kubectl("get", "lease", "aimesh-controller", "-n", SYSTEM, "-o", "jsonpath={.spec.holderIdentity}")
    assert holder == ""


def test_on_linkerd_its_rights_are_enough(linkerd: ControlPlane, namespace: str) -> None:
    """With the gateway in the namespace where only it may write Deployments; scaled, as an autoscaler does it."""
    flags, gateway = ("--mesh", "linkerd", f"--lease={SYSTEM}/aimesh-controller"), "deployment/inference-gateway"
    with (
        installed(linkerd, "linkerd-adapter") as kubeconfig,
        ControllerProcess(linkerd, namespace, *flags, kubeconfig=kubeconfig) as controller,
    ):
        for versions in ([{"name": "v1"}], [{"name": "v2", "endpoints": ["192.0.2.1:80"]}]):
            selector = {"matchLabels": {"app": "chat"}}
            chat = policy(namespace, models=["a"], host="chat", selector=selector, versions=versions)
            linkerd.kubectl("apply", "-f", "-", input=yaml.safe_dump(chat))
            waits_for(linkerd, namespace)
            linkerd.kubectl("wait", "--for=create", "--timeout=60s", gateway, "-n", SYSTEM)
            linkerd.kubectl("scale", gateway, "-n", SYSTEM, "--replicas=5")
        until(lambda: _backends(linkerd, namespace) == {"chat-v2"}, PATIENCE)
        replicas = linkerd.kubectl("get", gateway, "-n", SYSTEM, "-o", "jsonpath={.spec.replicas}")
        assert replicas == "5", "how many there are is not the controller's"
        linkerd.kubectl("delete", "mip", "--all", "-n", namespace)
        until(lambda: not linkerd_objects(linkerd), PATIENCE)
        assert controller.end() == 0
        assert "forbidden" not in controller.said()


def _backends(control_plane: ControlPlane, namespace: str) -> set[str]:
    names = "jsonpath={.items[*].spec.rules[*].backendRefs[*].name}"
    return set(control_plane.kubectl("get", "httproutes", "-n", namespace, "-o", names).split())


def test_the_controller_takes_its_arguments() -> None:
    (deployment,) = yaml.safe_load_all((ROOT / "istio" / "controller" / "deployment.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    arguments = parser().parse_args(container["args"])
    assert (arguments.mesh, arguments.lease) == ("istio", (SYSTEM, "aimesh-controller"))
