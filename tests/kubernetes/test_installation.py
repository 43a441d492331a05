"""What is shipped, applied to a real API server; and the processor with the rights that it is installed with."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml
from linkerd_adapter.cli.main import main as linkerd_adapter

from tests.house.tree import ROOT
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.processor import ClusterProcessor, PodProcessor
from tests.manifests import crds
from tests.waiting import until

pytestmark = pytest.mark.timeout(300)
SYSTEM = "aimesh-system"
ISTIO = ROOT / "istio"
CRD = "CustomResourceDefinition"
ELSEWHERE = {"monitoring.coreos.com"}
"""Groups whose CRDs are not at hand: Prometheus' operator's."""


def documents(path: Path) -> list[dict[str, Any]]:
    """The objects of a file, or of a kustomization."""
    text = path.read_text()
    if path.name == "kustomization.yaml":
        kubectl = shutil.which("kubectl") or "kubectl"
        done = subprocess.run([kubectl, "kustomize", str(path.parent)], capture_output=True, text=True, check=True)
        text = done.stdout
    found = [document for document in yaml.safe_load_all(text) if document and "kind" in document]
    return [document for document in found if document["apiVersion"].partition("/")[0] not in ELSEWHERE]


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """With the CRDs of Istio, and the namespaces that the manifests name."""
    if not (crds.FOLDER / "istio-1.30.3.yaml").exists():
        pytest.skip("no CRDs in ../shared/crds beside the checkout")
    control_plane.apply(*yaml.safe_load_all((crds.FOLDER / "istio-1.30.3.yaml").read_text()))
    control_plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    for name in ("ai", "istio-ingress", "istio-system"):  # the tests with an istiod have the last one too
        control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    control_plane.apply(*documents(ISTIO / "kustomization.yaml"))
    yield control_plane
    control_plane.kubectl("delete", "mip,gpupools", "--all", "--all-namespaces")
    # They would judge what other tests apply as well.
    control_plane.kubectl("delete", "-f", str(ISTIO / "admission.yaml"))


SHIPPED = [
    *sorted(ISTIO.rglob("kustomization.yaml")),
    ISTIO / "policy.yaml",
    *sorted((ISTIO / "examples").glob("*.yaml")),
    *sorted((ISTIO / "rendered").glob("*.yaml")),
]


OTHERS = {
    "gateway.networking.k8s.io": "gateway-api-1.6.0.yaml",
    "inference.networking.k8s.io": "gateway-api-inference-extension-1.5.0.yaml",
}
"""CRDs of other projects' groups."""


@contextmanager
def with_crds(cluster: ControlPlane, *files: str) -> Iterator[None]:
    """With what these have. The CRDs go again: istiod waits for kinds that are not among those at hand."""
    found = [crd for name in files for crd in yaml.safe_load_all((crds.FOLDER / name).read_text()) if crd]
    for crd in found:
        crd.pop("status", None)  # of nulls, which the API server refuses
    if found:
        cluster.apply(*found)
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    yield
    if found:
        cluster.kubectl("delete", "crd", *{crd["metadata"]["name"] for crd in found if crd["kind"] == CRD})


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ISTIO)))
def test_everything_that_is_shipped_is_taken(cluster: ControlPlane, path: Path) -> None:
    """Server-side, with strict validation: an unknown field is refused."""
    found = documents(path)
    if not found:
        pytest.skip("nothing in it whose CRD is at hand")
    namespaces = {document["metadata"].get("namespace") for document in found} - {None}
    for name in namespaces:
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    groups = {document["apiVersion"].partition("/")[0] for document in found}
    with with_crds(cluster, *(name for group, name in OTHERS.items() if group in groups)):
        comes_to_rest(cluster, found)


LINKERD = ("gateway-api-1.6.0.yaml", "linkerd-edge-26.8.3.yaml")


@pytest.fixture(scope="module")
def linkerd(cluster: ControlPlane) -> Iterator[ControlPlane]:
    """With its CRDs and the Gateway API's."""
    with with_crds(cluster, *LINKERD):
        yield cluster


@pytest.mark.parametrize("options", [(), ("--audit",)], ids=["enforced", "audited"])
def test_what_is_rendered_for_linkerd_is_taken(linkerd: ControlPlane, options: tuple[str, ...]) -> None:
    with redirect_stdout(io.StringIO()) as rendered:
        assert linkerd_adapter(["render", "-f", str(ISTIO / "policy.yaml"), *options]) == 0
    found = [document for document in yaml.safe_load_all(rendered.getvalue()) if document and is_known(document)]
    assert {"HTTPRoute", "Server", "Deployment"} <= {document["kind"] for document in found}
    comes_to_rest(linkerd, found)


def is_known(document: dict[str, Any]) -> bool:
    """Whether its CRD is at hand: of Linkerd's, not all are."""
    group = document["apiVersion"].partition("/")[0]
    return not group.endswith("linkerd.io") or (document["apiVersion"], document["kind"]) in crds.kinds()


def comes_to_rest(cluster: ControlPlane, found: list[dict[str, Any]]) -> None:
    """Applied again, it changes nothing: at the latest when an istiod of other tests has written into its status."""
    until(lambda: versions(cluster, found) == versions(cluster, found), 60, pause=0.5)


def versions(cluster: ControlPlane, found: list[dict[str, Any]]) -> list[str]:
    """Applies objects; their resourceVersions."""
    command = ["apply", "--server-side", "--validate=strict", "--force-conflicts", "-o", "json", "-f", "-"]
    answer = json.loads(cluster.kubectl(*command, input=yaml.safe_dump_all(found)))
    return [one["metadata"]["resourceVersion"] for one in answer.get("items", [answer])]


def test_the_processor_watches_with_the_rights_of_its_installation_and_has_no_others(cluster: ControlPlane) -> None:
    cluster.kubectl("delete", "mip,gpupools", "--all", "--all-namespaces")
    kubeconfig = cluster.service_account(SYSTEM, "aimesh-extproc")
    with ClusterProcessor(kubeconfig) as processor:
        processor.ready()
        cluster.apply(*documents(ISTIO / "policy.yaml"))
        until(lambda: set(processor.ports()) == {"chat"})
        assert processor.config()["kubernetes"]["in_step"]
        assert processor.problems() == []
    everywhere = [rule for rule in rights(cluster, kubeconfig) if rule.get("resources")]
    ours = {"verbs": ["list", "watch"], "apiGroups": ["ai.istio.io"]}
    of_everybody = [rule for rule in everywhere if "k8s.io" in rule["apiGroups"][0]]
    assert [rule for rule in everywhere if rule not in of_everybody] == [
        ours | {"resources": ["modelinferencepolicies", "gpupools"]}
    ]
    assert {rule["apiGroups"][0] for rule in of_everybody} <= {"authorization.k8s.io", "authentication.k8s.io"}


def rights(cluster: ControlPlane, kubeconfig: Path) -> list[dict[str, Any]]:
    """What a user may do in a namespace, as the API server tells."""
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": "ai"}}
    text = cluster.kubectl(
        "create", "--validate=false", "-o", "json", "-f", "-", input=json.dumps(review), kubeconfig=kubeconfig
    )
    found: list[dict[str, Any]] = json.loads(text)["status"]["resourceRules"]
    return found


def test_a_processor_of_one_namespace_needs_a_role_binding_only(cluster: ControlPlane, namespace: str) -> None:
    name = "one-namespace"
    cluster.kubectl("create", "serviceaccount", name, "-n", namespace)
    kubeconfig = cluster.service_account(namespace, name)
    with ClusterProcessor(kubeconfig, "--namespace", namespace) as processor:
        processor.ready()
        until(lambda: "403" in processor.get("/readyz")[1])
        assert "gpupools.ai.istio.io is forbidden" in processor.get("/readyz")[1]
        role, account = "--clusterrole=aimesh-extproc", f"--serviceaccount={namespace}:{name}"
        cluster.kubectl("create", "rolebinding", name, role, account, "-n", namespace)
        until(processor.is_ready)


def test_a_pod_has_the_token_of_its_account_and_takes_a_new_one(cluster: ControlPlane) -> None:
    with PodProcessor(cluster, SYSTEM) as processor:
        processor.ready()
        until(lambda: "401: Unauthorized" in processor.get("/readyz")[1])
        processor.give_token(cluster.kubectl("create", "token", "aimesh-extproc", "-n", SYSTEM).strip())
        until(processor.is_ready)
        processor.give_token("too old")
        cluster.apply(*documents(ISTIO / "policy.yaml"))
        until(lambda: "chat" in processor.ports())
