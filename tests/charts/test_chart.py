"""The Helm chart installs, object by object, what `kubectl apply -k` installs for each mesh."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from extproc.cli.main import parser
from tests import fast_yaml
from tests.charts.helm import find
from tests.house.tree import ROOT
from tests.manifests import core, crds

CHART = ROOT / "charts" / "aimesh"
FOLDERS = {"istio": ("istio", "istio/controller"), "linkerd": ("linkerd-adapter",)}
"""What a person applies for each mesh."""
CLUSTER_WIDE = ("ClusterRole", "CustomResourceDefinition", "ValidatingAdmissionPolicy", "Namespace")
"""Beginnings of kinds that have no namespace, whatever kustomize writes there."""
Objects = dict[tuple[str, str], dict[str, Any]]

with_helm = pytest.mark.skipif(find() is None, reason="no helm on the PATH, and none built: make helm")
with_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on the PATH")


def by_name(text: str) -> Objects:
    found: Objects = {}
    for one in yaml.load_all(text, crds.LOADER):
        if one:
            key = (one["kind"], one["metadata"]["name"])
            assert key not in found
            if one["kind"].startswith(CLUSTER_WIDE):
                one["metadata"].pop("namespace", None)
            found[key] = one
    return found


@cache
def helm(*arguments: str) -> str:
    command = [find() or "helm", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=CHART.parent)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def charted(*settings: str, namespace: str = "aimesh-system") -> Objects:
    options = [word for setting in settings for word in ("--set-json", setting)]
    place = ("--namespace", namespace, "--kube-version", "1.30", "--include-crds")
    return by_name(helm("template", "aimesh", "aimesh", *place, *options))


def kustomized(mesh: str) -> Objects:
    found: Objects = {}
    for folder in FOLDERS[mesh]:
        command = ["kubectl", "kustomize", str(ROOT / folder)]
        found |= by_name(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    del found["Namespace", "aimesh-system"]  # helm makes it, or finds it
    return found


@with_helm
@with_kubectl
@pytest.mark.parametrize("mesh", FOLDERS)
def test_it_installs_what_the_kustomizations_install(mesh: str) -> None:
    chart, folders = charted(f'mesh="{mesh}"'), kustomized(mesh)
    assert chart.keys() == folders.keys()
    assert {key: one for key, one in chart.items() if one != folders[key]} == {}


@with_helm
@pytest.mark.parametrize("mesh", FOLDERS)
def test_helms_linter_and_kubernetes_take_it(mesh: str) -> None:
    helm("lint", "aimesh", "--strict", "--kube-version", "1.30", "--set", f"mesh={mesh}")
    values = ('clients=["a","b"]', 'controllerFlags=["--settle=3"]', 'replicas={"min":3,"max":4}')
    made = charted(f'mesh="{mesh}"', *values, namespace="elsewhere")
    if any(crds.FOLDER.glob("*.yaml")):
        assert core.all_problems(fast_yaml.dump_all(made.values())) == []


def texts(made: Objects) -> str:
    return json.dumps([one for (kind, _), one in made.items() if not kind.startswith(CLUSTER_WIDE[1:])])


@with_helm
@pytest.mark.parametrize("mesh", FOLDERS)
def test_another_namespace_is_everybodys(mesh: str) -> None:
    """No object of it names the usual one; the controller's flags say where its Lease, processors and gateway are."""
    made = charted(f'mesh="{mesh}"', namespace="elsewhere")
    assert "aimesh-system" not in texts(made)
    (container,) = made["Deployment", "aimesh-controller"]["spec"]["template"]["spec"]["containers"]
    arguments = parser().parse_args(container["args"])
    assert (arguments.lease[0], arguments.gateway_name[0]) == ("elsewhere", "elsewhere")
    assert arguments.processor == ["aimesh-extproc.elsewhere.svc.cluster.local:50051"]


def _scale(made: Objects) -> tuple[int, int]:
    (spec,) = (one["spec"] for (kind, _), one in made.items() if kind == "HorizontalPodAutoscaler")
    return spec["minReplicas"], spec["maxReplicas"]


def _locality(made: Objects) -> str:
    """What the processors take for their place; empty where none are installed."""
    deployment = made.get(("Deployment", "aimesh-extproc"))
    if deployment is None:
        return ""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    found: str = parser().parse_args(container["args"]).locality
    return found


def _images(made: Objects) -> set[str]:
    pods = [one["spec"]["template"]["spec"] for (kind, _), one in made.items() if kind == "Deployment"]
    flags = [flag for pod in pods for container in pod["containers"] for flag in container["args"]]
    own = {flag.removeprefix("--image=") for flag in flags if flag.startswith("--image=")}
    return {container["image"] for pod in pods for container in pod["containers"]} | own


SETTINGS: dict[str, Callable[[Objects], bool]] = {
    'image="r.example/x:2"': lambda made: _images(made) == {"r.example/x:2"},
    'processorFlags=["--locality=us-west1/a"]': lambda made: _locality(made) == "us-west1/a",
    'controllerFlags=["--settle=3"]': lambda made: '"--settle=3"' in texts(made),
    'replicas={"min":3,"max":4}': lambda made: _scale(made) == (3, 4),
    'clients=["team-a"]': lambda made: '"values": ["team-a"]' in texts(made),
    'monitoring="prom"': lambda made: '"kubernetes.io/metadata.name": "prom"' in texts(made),
}


@with_helm
@pytest.mark.parametrize("mesh", FOLDERS)
def test_every_value_has_its_effect(mesh: str) -> None:
    made = charted(f'mesh="{mesh}"', *SETTINGS)
    without = [setting for setting, has in SETTINGS.items() if not has(made)]
    of_processors = [setting for setting in SETTINGS if setting.startswith("processorFlags")]
    assert without == ([] if mesh == "istio" else of_processors), "Linkerd's are in the gateway, made by the controller"
    assert {setting.partition("=")[0] for setting in SETTINGS} | {"mesh"} == values().keys()


def values() -> dict[str, Any]:
    found: dict[str, Any] = fast_yaml.load((CHART / "values.yaml").read_text())
    return found


def test_values_fit_their_schema_and_the_readme_has_them() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.validate(values(), schema)
    assert schema["properties"].keys() - {"global"} == values().keys()
    told = re.findall(
        r"`([\w.]+)`", "".join(re.findall(r"^\| (`.+?) \|", (CHART / "README.md").read_text(), re.MULTILINE))
    )
    assert {name.partition(".")[0] for name in told} == values().keys()


@with_kubectl
def test_a_place_by_kustomize_as_the_page_has_it(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "multi-cluster.md").read_text()
    (text,) = re.findall(r"```yaml\n# kustomization.yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "istio").symlink_to(ROOT / "istio")
    place = tmp_path / "us-west1"
    place.mkdir()
    (place / "kustomization.yaml").write_text(text)
    command = ["kubectl", "kustomize", str(place), "--load-restrictor", "LoadRestrictionsNone"]
    made = by_name(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert _locality(made) == "us-west1/a"


def test_kinds_and_admission_are_copies() -> None:
    """`make docs` makes them."""
    for copy, original in (("crds/crds.yaml", "crds.yaml"), ("templates/admission.yaml", "admission.yaml")):
        assert (CHART / copy).read_text() == (ROOT / "istio" / original).read_text()
