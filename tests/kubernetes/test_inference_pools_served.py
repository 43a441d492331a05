"""``extproc serve --inference-pool`` on a real API server, behind a real Envoy that asks it as a gateway does."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc._pb import health_pb2 as pb
from tests.house.tree import ROOT
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.mesh_envoys import add_addresses
from tests.kubernetes.picker_gateway import Answer, PickerGateway, Server
from tests.kubernetes.processor import ClusterProcessor
from tests.kubernetes.test_watched_policies import policy
from tests.manifests.crds import FOLDER, needed
from tests.unit.kubernetes.inference_objects import objective, pool, rewrite, rule
from tests.waiting import until

pytestmark = [needed, pytest.mark.timeout(300)]
HOSTS = ("10.88.1.1", "10.88.1.2", "10.88.1.3")
PORT = 8000
CRDS = FOLDER / "gateway-api-inference-extension-1.5.0.yaml"
SERVING, NOT_SERVING = pb.HealthCheckResponse.SERVING, pb.HealthCheckResponse.NOT_SERVING
NAME = "llama-picker"


class Picker(ClusterProcessor):
    """With the port that gateways expect to be told of, and no policies but those that it is told to read."""

    def __init__(self, kubeconfig: Path, *options: str) -> None:
        addresses = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
        self._start([*addresses, *options], {"KUBECONFIG": str(kubeconfig)})

    def endpoints(self) -> dict[tuple[str, str], list[str]]:
        """Hosts by policy and version."""
        return {
            (found["name"], version["name"]): [each.partition(":")[0] for each in version["endpoints"]]
            for found in self.config()["policies"]
            for version in found["versions"]
        }


def rights(namespace: str, manifest: str) -> list[dict[str, Any]]:
    """The account of the manifest, and its rights, in this namespace."""
    documents = [
        one for one in yaml.safe_load_all(manifest) if one["kind"] in ("ServiceAccount", "Role", "RoleBinding")
    ]
    for one in documents:
        one["metadata"]["namespace"] = namespace
        for subject in one.get("subjects", ()):
            subject["namespace"] = namespace
    return documents


@pytest.fixture
def cluster(control_plane: ControlPlane, namespace: str) -> Iterator[ControlPlane]:
    """With the extension's CRDs, and a picker's account with the rights that istio/endpoint-picker gives."""
    crds = yaml.safe_load_all(CRDS.read_text())
    control_plane.apply(*({name: value for name, value in crd.items() if name != "status"} for crd in crds))
    control_plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
    documents = rights(namespace, (ROOT / "istio" / "endpoint-picker" / "endpoint-picker.yaml").read_text())
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}}
    control_plane.apply(account, *documents)
    yield control_plane
    control_plane.kubectl(
        "delete", "inferencepools,inferenceobjectives,inferencemodelrewrites", "--all", "-n", namespace
    )


@pytest.fixture
def servers() -> Iterator[dict[str, Server]]:
    """Model servers by their hosts."""
    add_addresses(*HOSTS)
    with ExitStack() as stack:
        yield {host: stack.enter_context(Server(host, PORT)) for host in HOSTS}


def put(control_plane: ControlPlane, namespace: str, *objects: dict[str, Any]) -> None:
    """Applies objects of a test's namespace."""
    for one in objects:
        metadata = {"name": one["metadata"]["name"], "namespace": namespace}
        control_plane.apply({**one, "metadata": metadata})


def put_pod(control_plane: ControlPlane, namespace: str, host: str, *, ready: bool = True, **labels: str) -> None:
    """A pod of the pool, as a kubelet has it."""
    name = f"llama-{host.rpartition('.')[2]}"
    metadata = {"name": name, "namespace": namespace, "labels": {"app": "llama", **labels}}
    spec = {"containers": [{"name": "main", "image": "none"}]}
    control_plane.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    condition = {"type": "Ready", "status": str(ready)}
    status = {"status": {"phase": "Running", "podIP": host, "podIPs": [{"ip": host}], "conditions": [condition]}}
    patch = ("--subresource=status", "--type=merge", "-p", json.dumps(status))
    control_plane.kubectl("patch", "pod", name, "-n", namespace, *patch)


def hosts_of(answers: list[Answer]) -> set[str]:
    """Who answered: each the one that was picked."""
    assert {answer.status for answer in answers} == {200}
    assert [answer.by for answer in answers] == [answer.picked.partition(",")[0] for answer in answers]
    return {answer.by.partition(":")[0] for answer in answers}


def test_a_pool_alone(cluster: ControlPlane, namespace: str, servers: dict[str, Server], tmp_path: Path) -> None:
    one, two, three = HOSTS
    kubeconfig = cluster.service_account(namespace, NAME)
    with ExitStack() as stack:
        picker = stack.enter_context(Picker(kubeconfig, "--inference-pool", f"{namespace}/llama")).ready()
        until(lambda: f"InferencePool {namespace}/llama" in picker.get("/readyz")[1])
        assert (picker.is_ready(), picker.health()) == (False, NOT_SERVING)
        assert "403" not in picker.log
        put_pod(cluster, namespace, one)
        put_pod(cluster, namespace, two)
        put(cluster, namespace, pool())
        until(lambda: picker.is_ready() and picker.health() == SERVING)
        endpoints = [server.address for server in servers.values()]
        gateway = stack.enter_context(PickerGateway(picker.address, endpoints, tmp_path / "envoy"))

        def ask(count: int, **more: str) -> list[Answer]:
            return [gateway.ask(f"{number} {'x' * 600}", **more) for number in range(count)]

        assert hosts_of(ask(20)) == {one, two}
        series = 'inference_picks_total{gpu_pool="none",outcome="picked",policy="llama",version="llama"}'
        assert picker.metric(series) == 20
        assert hosts_of([gateway.send("GET", "/health"), gateway.send("GET", "/v1/models")]) <= {one, two}
        assert picker.metric(series) == 22, "each request gets an endpoint"

        # Pods come and go.
        put_pod(cluster, namespace, three)
        until(lambda: picker.endpoints()["llama", "llama"] == [one, two, three])
        put_pod(cluster, namespace, one, ready=False)
        until(lambda: picker.endpoints()["llama", "llama"] == [two, three])
        assert hosts_of(ask(20)) == {two, three}

        # Priorities, while all are saturated.
        put(cluster, namespace, objective("batch", -1), objective("chat", 5), objective("far", -1, ref="other"))
        until(lambda: len(picker.config()["policies"][0]["picking"]["objectives"]) == 2)
        assert gateway.ask(x_gateway_inference_objective="batch").status == 200
        for server in servers.values():
            server.waiting = 9
        until(lambda: gateway.ask(x_gateway_inference_objective="batch") == Answer(429, code="saturated"))
        for named in ("chat", "far", "unheard-of"):
            assert gateway.ask(x_gateway_inference_objective=named).status == 200, named
        for server in servers.values():
            server.waiting = 0

        # A rewrite splits one model among two.
        put(cluster, namespace, rewrite("canary", rule("chat", base=30, tuned=10)))
        until(lambda: ("canary", "tuned") in picker.endpoints())
        answers = ask(200, model="chat")
        hosts_of(answers)
        models = Counter(answer.model for answer in answers)
        assert models.keys() == {"base", "tuned"}
        assert 20 <= models["tuned"] <= 80, "50 of 200, by 5 standard deviations"
        assert gateway.ask(model="llama").model == "llama"

        # Nobody is ready; then the pool is gone.
        put_pod(cluster, namespace, two, ready=False)
        cluster.kubectl("delete", "pod", "llama-3", "-n", namespace, "--grace-period=0", "--force")
        until(lambda: gateway.ask() == Answer(503, code="no_endpoint"))
        assert picker.is_ready()
        put_pod(cluster, namespace, two)
        until(lambda: gateway.ask().status == 200)
        kinds = "inferencepools,inferenceobjectives"
        text = cluster.kubectl("get", kinds, "-n", namespace, "-o", "json", "--show-managed-fields")
        found = json.loads(text)["items"]
        assert len(found) == 4
        entries = [entry for one in found for entry in one["metadata"]["managedFields"]]
        told = {entry["manager"] for entry in entries if entry.get("subresource") == "status"}
        assert told <= {"pilot-discovery"}, "their status is the gateway's, here that of an istiod of other tests"
        cluster.kubectl("delete", "inferencepool", "llama", "-n", namespace)
        until(lambda: [problem["file"] for problem in picker.problems()] == [f"InferencePool {namespace}/llama"])


def test_versions_of_a_policy_are_pods_of_a_pool(
    cluster: ControlPlane, namespace: str, servers: dict[str, Server], tmp_path: Path
) -> None:
    one, two, three = HOSTS
    for host, version in ((one, "v1"), (two, "v1"), (three, "v2")):
        put_pod(cluster, namespace, host, version=version)
    manifest = (ROOT / "istio" / "endpoint-picker" / "endpoint-picker.yaml").read_text()
    cluster.apply(
        *rights(namespace, re.sub(r"^# (- apiGroups|  (resources|verbs):)", r"\1", manifest, flags=re.MULTILINE))
    )
    put(cluster, namespace, pool(picker="mine"))
    versions = [
        {"name": name, "weight": 50, "inferencePool": {"name": "llama", "matchLabels": {"version": name}}}
        for name in ("v1", "v2")
    ]
    cluster.apply(policy(namespace, models=["*"], versions=versions, picking={"by": "least-loaded"}))
    with ExitStack() as stack:
        wanted = ("--kubernetes", "--namespace", namespace, "--inference-pools-of", f"{namespace}/mine")
        picker = stack.enter_context(Picker(cluster.service_account(namespace, NAME), *wanted)).ready()
        until(lambda: picker.is_ready() and ("chat", "v1") in picker.endpoints())
        assert picker.endpoints() == {("chat", "v1"): [one, two], ("chat", "v2"): [three]}
        assert picker.problems() == []
        endpoints = [server.address for server in servers.values()]
        gateway = stack.enter_context(PickerGateway(picker.address, endpoints, tmp_path / "envoy"))
        answers = [gateway.ask() for _ in range(100)]
        assert hosts_of(answers) == {one, two, three}
        third = sum(answer.by.startswith(three) for answer in answers)
        assert 25 <= third <= 75, "50 of 100, by 5 standard deviations"
        # The version whose only pod goes is down: the other one answers.
        put_pod(cluster, namespace, three, ready=False, version="v2")
        until(lambda: picker.endpoints()["chat", "v2"] == ["nowhere.invalid"])
        until(lambda: all(gateway.ask().status == 200 for _ in range(10)))
        assert hosts_of([gateway.ask() for _ in range(20)]) <= {one, two}
