"""What `kubectl apply -k istio` puts into a cluster: every file is in it, and its parts fit together."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from extproc.cli.main import parser
from extproc.kubernetes.processors import ADMIN_PORT
from extproc.render.istio.manifests import IstioOptions
from tests import fast_yaml
from tests.house.tree import ROOT
from tests.manifests import core, crds
from tests.policy_documents import load_texts

FOLDER = ROOT / "istio"
KUSTOMIZATIONS = sorted(FOLDER.rglob("kustomization.yaml"))


def one(file: str) -> dict[str, Any]:
    (document,) = fast_yaml.load_all((FOLDER / file).read_text())
    return document  # type: ignore[no-any-return]


@pytest.mark.parametrize("path", KUSTOMIZATIONS, ids=lambda path: path.parent.name)
def test_a_kustomization_names_every_file_beside_it(path: Path) -> None:
    """Its own fields are few; kubectl refuses others. The policy is applied by itself."""
    document = fast_yaml.load(path.read_text())
    assert document.keys() <= {"apiVersion", "kind", "namespace", "resources"}
    there = {file.name for file in path.parent.glob("*.yaml")}
    assert sorted(document["resources"]) == sorted(there - {"kustomization.yaml", "mesh-values.yaml", "policy.yaml"})


def test_the_admin_ports_have_one_name_that_no_monitor_scrapes() -> None:
    """As ``extproc stat --help`` has it."""
    service, pod = one("admin-service.yaml"), one("deployment.yaml")["spec"]["template"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert service["spec"]["clusterIP"] == "None"
    name = f"{service['metadata']['name']}.{one('kustomization.yaml')['namespace']}"
    assert f"http://{name}:{service['spec']['ports'][0]['port']}" in (ROOT / "extproc/cli/stat.py").read_text()
    scraped = one("monitoring/servicemonitor.yaml")["spec"]["selector"]["matchLabels"]
    assert not scraped.items() <= service["metadata"].get("labels", {}).items()


def test_names_and_ports_fit_together() -> None:
    deployment, service, rule = one("deployment.yaml"), one("service.yaml"), one("destinationrule.yaml")
    name = deployment["metadata"]["name"]
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    labels = pod["metadata"]["labels"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert service["spec"]["selector"].items() <= labels.items()
    assert {port["targetPort"] for port in service["spec"]["ports"]} == ports.keys()
    for file in ("pdb.yaml", "networkpolicy.yaml"):
        selector = one(file)["spec"].get("selector") or one(file)["spec"]["podSelector"]
        assert selector["matchLabels"].items() <= labels.items()
    allowed = [port["port"] for way in one("networkpolicy.yaml")["spec"]["ingress"] for port in way["ports"]]
    assert allowed == list(ports)
    assert one("hpa.yaml")["spec"]["scaleTargetRef"]["name"] == name
    assert pod["spec"]["serviceAccountName"] == one("serviceaccount.yaml")["metadata"]["name"]
    kustomization = one("kustomization.yaml")
    host = f"{service['metadata']['name']}.{kustomization['namespace']}.svc.cluster.local"
    assert rule["spec"]["host"] == host
    grpc = next(port["port"] for port in service["spec"]["ports"] if port["name"] == "grpc")
    assert IstioOptions().processors == (f"{host}:{grpc}",)
    (volume,) = pod["spec"]["volumes"]
    (mount,) = container["volumeMounts"]
    assert (volume["name"], "emptyDir" in volume, mount.get("readOnly")) == (mount["name"], True, None)


def test_the_processor_takes_its_arguments() -> None:
    deployment = one("deployment.yaml")["spec"]["template"]["spec"]
    (container,) = deployment["containers"]
    arguments = parser().parse_args(container["args"])
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert arguments.listen == [f"0.0.0.0:{ports['grpc']}"]
    assert arguments.admin == f"0.0.0.0:{ports['http-admin']}"
    assert (arguments.kubernetes, arguments.file) == (True, None)
    assert str(arguments.snapshot_directory) == container["volumeMounts"][0]["mountPath"]
    assert arguments.drain + arguments.grace < deployment["terminationGracePeriodSeconds"]
    probing = container["readinessProbe"]
    assert arguments.drain > probing["periodSeconds"] * probing["failureThreshold"]


def test_nothing_in_the_pod_may_more_than_it_must() -> None:
    pod = one("deployment.yaml")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is True, "to watch policies"
    assert one("serviceaccount.yaml")["automountServiceAccountToken"] is False, "of no other pod"
    assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["seccompProfile"]["type"]) == (
        True,
        "RuntimeDefault",
    )
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert one("namespace.yaml")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_image_runs_as_the_user_that_the_pod_names() -> None:
    text = (FOLDER / "Containerfile").read_text()
    user = one("deployment.yaml")["spec"]["template"]["spec"]["securityContext"]["runAsUser"]
    assert re.findall(r"^USER (\d+):\1$", text, re.MULTILINE) == [str(user)]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
    assert all((ROOT / name).exists() for line in copied for name in line.split())


def test_a_service_monitor_names_what_the_service_has() -> None:
    """No CRD of Prometheus' operator is at hand: the few fields that are used are held against its API by hand."""
    monitor, service = one("monitoring/servicemonitor.yaml"), one("service.yaml")
    assert (monitor["apiVersion"], monitor["kind"]) == ("monitoring.coreos.com/v1", "ServiceMonitor")
    assert monitor["spec"].keys() == {"selector", "endpoints"}
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert [each.keys() for each in monitor["spec"]["endpoints"]] == [{"port", "path", "interval"}]
    assert monitor["spec"]["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert monitor["metadata"]["namespace"] == one("kustomization.yaml")["namespace"]


def test_a_pod_monitor_names_what_the_controllers_pods_have() -> None:
    monitor, pod = one("monitoring/podmonitor.yaml"), one("controller/deployment.yaml")["spec"]["template"]
    assert (monitor["apiVersion"], monitor["kind"]) == ("monitoring.coreos.com/v1", "PodMonitor")
    assert monitor["spec"].keys() == {"selector", "podMetricsEndpoints"}
    assert monitor["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    (container,) = pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert [each["port"] for each in monitor["spec"]["podMetricsEndpoints"]] == list(ports)
    assert parser().parse_args(container["args"]).admin == f"0.0.0.0:{ports['http-admin']}"
    (way,) = one("controller/networkpolicy.yaml")["spec"]["ingress"]
    assert [port["port"] for port in way["ports"]] == list(ports)


def test_the_controller_may_reach_the_processors_pages() -> None:
    (_, way) = one("controller/networkpolicy.yaml")["spec"]["egress"]
    pod, controller = (one(f"{folder}deployment.yaml")["spec"]["template"] for folder in ("", "controller/"))
    (container,) = pod["spec"]["containers"]
    admin = next(port["containerPort"] for port in container["ports"] if port["name"] == ADMIN_PORT)
    assert [port["port"] for port in way["ports"]] == [admin]
    assert way["to"][0]["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    let_in = [each for way in one("networkpolicy.yaml")["spec"]["ingress"] for each in way["from"]]
    allowed = [each["podSelector"]["matchLabels"] for each in let_in if "podSelector" in each]
    assert [labels.items() <= controller["metadata"]["labels"].items() for labels in allowed] == [True]
    assert ADMIN_PORT in {port["name"] for port in one("service.yaml")["spec"]["ports"]}


@crds.needed
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on the PATH")
@pytest.mark.parametrize("path", KUSTOMIZATIONS, ids=lambda path: path.parent.name)
def test_kubectl_takes_the_kustomization(path: Path) -> None:
    command = ["kubectl", "kustomize", str(path.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    made = list(fast_yaml.load_all(done.stdout))
    known = [document for document in made if not document["apiVersion"].startswith("monitoring.coreos.com/")]
    assert core.all_problems(fast_yaml.dump_all(known)) == [] if known else made


def test_the_rights_are_those_of_the_account_that_the_pod_has() -> None:
    role, binding = fast_yaml.load_all((FOLDER / "rbac.yaml").read_text())
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    account = {"kind": "ServiceAccount", "name": one("serviceaccount.yaml")["metadata"]["name"]}
    assert binding["subjects"] == [account | {"namespace": one("kustomization.yaml")["namespace"]}]
    assert role["rules"] == [
        {
            "apiGroups": ["ai.istio.io"],
            "resources": ["modelinferencepolicies", "gpupools"],
            "verbs": ["list", "watch"],
        }
    ]


def test_the_policy_that_is_shipped_is_right() -> None:
    assert load_texts([("policy.yaml", (FOLDER / "policy.yaml").read_text())]).warnings == ()


def test_the_readme_names_what_there_is() -> None:
    text = (FOLDER / "README.md").read_text()
    linked = set(re.findall(r"\]\(([^)#]+)", text))
    assert [name for name in linked if not (FOLDER / name).exists()] == []
    assert {f"examples/{file.name}" for file in (FOLDER / "examples").iterdir()} <= linked
    for path in (FOLDER / "examples").iterdir():
        assert path.read_text().startswith("# Was wrong: "), path.name
