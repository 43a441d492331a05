"""What `kubectl apply -k linkerd-adapter` puts into a cluster; its parts fit the gateway that is made later."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from functools import cache
from typing import Any

import pytest
from linkerd_adapter import manifests
from linkerd_adapter.gateway import Options
from linkerd_adapter.names import Service

from extproc.cli.main import parser
from extproc.kubernetes.api import Resource
from extproc.kubernetes.mesh_writer import GATEWAY_KINDS, ISTIO, LINKERD
from tests import fast_yaml
from tests.house.tree import ROOT
from tests.manifests import core, crds
from tests.unit.render.snapshots import CANARY

FOLDER = ROOT / "linkerd-adapter"
pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on the PATH")


@cache
def installed() -> dict[tuple[str, str], dict[str, Any]]:
    """The objects, by kind and name."""
    command = ["kubectl", "kustomize", str(FOLDER)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return {(one["kind"], one["metadata"]["name"]): one for one in fast_yaml.load_all(done.stdout)}


def gateway() -> dict[str, dict[str, Any]]:
    """What the controller makes, by kind, as far as it has the gateway's name."""
    (container,) = installed()["Deployment", "aimesh-controller"]["spec"]["template"]["spec"]["containers"]
    arguments = parser().parse_args(container["args"])
    assert arguments.mesh == "linkerd"
    own = Service(*arguments.gateway_name)
    assert own.namespace == "aimesh-system"
    made = manifests.render(CANARY, {"a.yaml": ""}, Options(gateway=own, replicas=None)).manifests
    return {doc["kind"]: doc for doc in made if doc["metadata"]["name"] == own.name}


def test_it_is_the_kinds_the_controller_and_what_scales_and_guards_the_gateway() -> None:
    """Whatever is added for Istio's processors stays out."""
    assert {(kind, name) for kind, name in installed() if not name.endswith(".ai.istio.io")} == {
        ("Namespace", "aimesh-system"),
        *(
            (kind, "aimesh-controller")
            for kind in ("ServiceAccount", "Deployment", "PodDisruptionBudget", "NetworkPolicy")
        ),
        *(
            (f"{kind}{of}", f"aimesh-controller{mesh}")
            for kind in ("Role", "ClusterRole")
            for of in ("", "Binding")
            for mesh in ("", "-linkerd")
        ),
        ("HorizontalPodAutoscaler", "inference-gateway"),
        ("NetworkPolicy", "inference-gateway"),
    }
    ours = [kind for kind, name in installed() if name.endswith(".ai.istio.io")]
    assert sorted(set(ours)) == [
        "CustomResourceDefinition",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ]


@crds.needed
def test_kubernetes_takes_it() -> None:
    assert core.all_problems(fast_yaml.dump_all(installed().values())) == []


def test_the_autoscaler_is_the_gateways() -> None:
    scaler, deployment = installed()["HorizontalPodAutoscaler", "inference-gateway"]["spec"], gateway()["Deployment"]
    assert scaler["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"], "or the controller and the autoscaler write it in turn"
    containers = [container["name"] for container in deployment["spec"]["template"]["spec"]["containers"]]
    assert sorted(metric["containerResource"]["container"] for metric in scaler["metrics"]) == sorted(containers)


def test_the_gateways_ports_are_let_in() -> None:
    spec, pod = installed()["NetworkPolicy", "inference-gateway"]["spec"], gateway()["Deployment"]["spec"]["template"]
    assert spec["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    named = {port["name"] for container in pod["spec"]["containers"] for port in container.get("ports", ())}
    let_in = [port["port"] for rule in spec["ingress"] for port in rule["ports"]]
    assert {port for port in let_in if isinstance(port, str)} == named
    assert {port for port in let_in if isinstance(port, int)} == {4143, 4191}, "the proxy's own"


def rights(role: tuple[str, str]) -> set[tuple[str, str]]:
    """Group and plural of what a role may write."""
    rules = installed()[role]["rules"] if role in installed() else istio_rules()
    assert all(rule["verbs"] == ["get", "list", "create", "patch", "delete"] for rule in rules)
    return {(group, plural) for rule in rules for group in rule["apiGroups"] for plural in rule["resources"]}


def istio_rules() -> list[dict[str, Any]]:
    role, _ = fast_yaml.load_all((ROOT / "istio" / "controller" / "mesh-rights.yaml").read_text())
    return list(role["rules"])


def places(resources: Iterable[Resource]) -> set[tuple[str, str]]:
    return {(one.group, one.plural) for one in resources}


def test_the_controller_may_write_what_it_renders_and_of_the_gateway_where_that_is_only() -> None:
    gateways = places(resource for resource in LINKERD if resource.kind in GATEWAY_KINDS)
    assert rights(("Role", "aimesh-controller-linkerd")) == gateways
    assert rights(("ClusterRole", "aimesh-controller-linkerd")) == places(LINKERD) - gateways
    assert rights(("ClusterRole", "aimesh-controller-istio")) == places(ISTIO)
    for kind in ("Role", "ClusterRole"):
        binding = installed()[f"{kind}Binding", "aimesh-controller-linkerd"]
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == (kind, "aimesh-controller-linkerd")
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": "aimesh-controller", "namespace": "aimesh-system"}
        ]


def test_both_images_are_the_same() -> None:
    (container,) = installed()["Deployment", "aimesh-controller"]["spec"]["template"]["spec"]["containers"]
    assert f"--image={container['image']}" in container["args"]
    # What README.md has put a registry in front of.
    assert re.findall(r'sed "s\|(\S+?)\|', (FOLDER / "README.md").read_text()) == [container["image"]]
