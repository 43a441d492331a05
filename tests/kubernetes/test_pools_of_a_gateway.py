"""`render istio --inference-pool`: the processor is the endpoint picker of a gateway that a real istiod tells."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from extproc.cli.main import main
from tests.grpc.served import Served
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.mesh_cluster import endpoint_slice, workload
from tests.kubernetes.mesh_envoys import MeshEnvoy, add_addresses
from tests.kubernetes.test_mutual_tls import Models, ask
from tests.manifests.crds import FOLDER
from tests.waiting import until

pytestmark = pytest.mark.timeout(600)
POOLS = "pools"
HOST = "llm.example.com"
GATEWAY, PICKER = "10.77.7.1", "10.77.7.2"
SERVERS = {
    "chat": {"v1": ["10.77.7.10", "10.77.7.11"], "v2": ["10.77.7.12", "10.77.7.13"]},
    "code": {"v1": ["10.77.7.20", "10.77.7.21"]},
}
VERSION = {
    address: (model, name) for model, found in SERVERS.items() for name, all_of in found.items() for address in all_of
}
WEIGHTS = {"v1": 3, "v2": 1}
PICKED = "x-gateway-destination-endpoint"
REQUESTS, PATIENCE = 100, 120
CRDS = {
    "gateway-api-1.6.0.yaml": ("gateways", "httproutes", "grpcroutes"),
    "gateway-api-inference-extension-1.5.0.yaml": ("inferencepools",),
}
OF_GATEWAY = {"gateway.networking.k8s.io/gateway-name": "llm"}
THE_GATEWAY = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "llm", "namespace": POOLS},
    "spec": {
        "gatewayClassName": "istio",
        "addresses": [{"type": "Hostname", "value": f"llm.{POOLS}.svc.cluster.local"}],
        "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
    },
}


def policies() -> str:
    found = []
    for model, versions in SERVERS.items():
        spec: dict[str, Any] = {"models": [f"{model}-*"], "selector": {"matchLabels": {"app": model}}}
        spec["versions"] = [
            {"name": name, "weight": WEIGHTS[name], "endpoints": [f"{each}:8080" for each in addresses]}
            for name, addresses in versions.items()
        ]
        spec["picking"] = {"by": "round-robin"}
        head = {"apiVersion": "ai.istio.io/v1alpha1", "kind": "ModelInferencePolicy"}
        found.append({**head, "metadata": {"name": model, "namespace": POOLS}, "spec": spec})
    return yaml.safe_dump_all(found)


def rendered(place: Path) -> list[dict[str, Any]]:
    flags = ["--inference-pool", "--gateway", f"{POOLS}/llm", "--host", HOST, "--fail-closed"]
    with redirect_stdout(io.StringIO()) as found, redirect_stderr(io.StringIO()):
        assert main(["render", "istio", "-f", str(place), *flags]) == 0
    return list(yaml.safe_load_all(found.getvalue()))


@pytest.fixture
def pools(mesh_cluster: ControlPlane, tmp_path: Path) -> Iterator[ControlPlane]:
    """With a Gateway, servers, a Service of the processor, and what is rendered for them."""
    for file, kinds in CRDS.items():
        if not (FOLDER / file).exists():
            pytest.skip(f"no {file} in ../shared/crds beside the checkout")
        crds = [crd for crd in yaml.safe_load_all((FOLDER / file).read_text()) if crd]
        mesh_cluster.apply(*(crd for crd in crds if crd["metadata"]["name"].split(".")[0] in kinds))
    mesh_cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    add_addresses(GATEWAY, PICKER, *VERSION)
    mesh_cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": POOLS}})
    http = {"name": "http", "port": 80, "protocol": "TCP"}
    workload(mesh_cluster, POOLS, "llm", "10.96.7.1", GATEWAY, port=http, pod_labels=OF_GATEWAY)
    grpc = {"name": "grpc", "port": 9002, "protocol": "TCP", "appProtocol": "kubernetes.io/h2c"}
    workload(mesh_cluster, POOLS, "aimesh-extproc", "10.96.7.2", PICKER, port=grpc)
    for number, (model, versions) in enumerate(SERVERS.items(), 3):
        workload(mesh_cluster, POOLS, model, f"10.96.7.{number}", *(a for found in versions.values() for a in found))
    (tmp_path / "policy.yaml").write_text(policies())
    documents = [THE_GATEWAY, *rendered(tmp_path / "policy.yaml")]
    mesh_cluster.apply(*documents)
    servers = [ThreadingHTTPServer((address, 8080), Models) for address in VERSION]
    for server in servers:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield mesh_cluster
    for server in servers:
        server.shutdown()
        server.server_close()
    mesh_cluster.kubectl("delete", "-f", "-", input=yaml.safe_dump_all(documents))


def endpoints_of_pools(control_plane: ControlPlane) -> None:
    """What Kubernetes' controllers would write for the Services that istiod makes of pools."""
    by_pool = "istio.io/inferencepool-name"

    def made() -> dict[str, str]:
        text = control_plane.kubectl("get", "services", "-n", POOLS, "-l", by_pool, "-o", "json")
        return {one["metadata"]["labels"][by_pool]: one["metadata"]["name"] for one in json.loads(text)["items"]}

    until(lambda: set(made()) == set(SERVERS), PATIENCE, pause=0.2)
    port = {"name": "http-0", "port": 8080, "protocol": "TCP"}
    for pool, service in made().items():
        addresses = [address for found in SERVERS[pool].values() for address in found]
        members = [(f"{pool}-{number}", address) for number, address in enumerate(addresses)]
        control_plane.apply(endpoint_slice(POOLS, service, port, members))


def test_the_server_that_was_picked_answers(pools: ControlPlane, tmp_path: Path) -> None:
    endpoints_of_pools(pools)
    with ExitStack() as stack:
        stack.enter_context(Served(tmp_path / "policy.yaml", listen=f"{PICKER}:9002")).ready()
        envoy = MeshEnvoy("router", GATEWAY, "llm-0", POOLS, {"app": "llm", **OF_GATEWAY}, tmp_path / "llm")
        stack.enter_context(envoy)
        until(lambda: PICKED in ask(GATEWAY, 80, HOST, "chat-7b")[2], PATIENCE, pause=0.2)
        for model, versions in SERVERS.items():
            asked = [ask(GATEWAY, 80, HOST, f"{model}-7b", "x" * 1000 * n) for n in range(REQUESTS)]
            assert {status for status, _, _ in asked} == {200}
            told = [found for _, _, found in asked]
            elsewhere = [t for t in told if t[PICKED].split(",")[0] != f"{t['by']}:8080"]
            wrong = [t for t in told if (model, t["x-model-version"]) != VERSION[t["by"]]]
            by = Counter(t["by"] for t in told)
            print(f"\n{model}: {len(elsewhere)} of {REQUESTS} by a server that was not picked; {dict(by)}")
            assert (elsewhere, wrong) == ([], []), (elsewhere, wrong)
            assert set(by) == {address for found in versions.values() for address in found}
            if len(versions) > 1:
                assert 55 <= sum(t["x-model-version"] == "v1" for t in told) <= 92, "three of four"
        assert envoy.rejected() == {}, envoy.said()
