"""A policy under mutual TLS: certificates of istiod's CA by real pilot-agents, for a gateway and a server's sidecar."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.controllers import ControllerProcess, live
from tests.kubernetes.mesh_agent import MeshAgent
from tests.kubernetes.mesh_cluster import GATEWAY, HOST, INGRESS, PROCESSOR, PROCESSOR_ADDRESSES, workload
from tests.kubernetes.mesh_envoys import MeshEnvoy, add_addresses
from tests.kubernetes.processor import ClusterProcessor
from tests.kubernetes.test_policies_carried_out import policy, waits_for
from tests.waiting import until

pytestmark = pytest.mark.timeout(600)
SECURE = "secure"
"""The namespace whose workloads take mutual TLS only."""
SERVER = "10.77.5.1"
PATIENCE = 120


class Models(BaseHTTPRequestHandler):
    """A model server that tells the headers which it got, and its own address as ``by``."""

    def do_POST(self) -> None:
        self._read()
        told = {name.lower(): value for name, value in self.headers.items()} | {"by": self.connection.getsockname()[0]}
        body = json.dumps({"told": told}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _read(self) -> None:
        """The body, which may come in chunks (RFC 9112, section 7.1)."""
        if length := self.headers["content-length"]:
            self.rfile.read(int(length))
            return
        while size := int(self.rfile.readline(), 16):
            self.rfile.read(size + 2)
        self.rfile.readline()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def secure(mesh_cluster: ControlPlane) -> Iterator[ControlPlane]:
    """With a Service of one Pod, which takes mutual TLS only, and that clients speak it."""
    add_addresses(SERVER)
    mesh_cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SECURE}})
    workload(mesh_cluster, SECURE, "vault", "10.96.5.1", SERVER)
    tls = {"host": f"vault.{SECURE}.svc.cluster.local", "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}
    mesh_cluster.apply(
        istio("security.istio.io/v1", "PeerAuthentication", {"mtls": {"mode": "STRICT"}}),
        istio("networking.istio.io/v1", "DestinationRule", tls),
    )
    # As istio-iptables leads what comes to a pod to its sidecar, which then calls from this address.
    rule = ["OUTPUT", "!", "-s", "127.0.0.6/32", "-p", "tcp", "-d", SERVER, "--dport", "8080"]
    rule += ["-j", "REDIRECT", "--to-ports", "15006"]
    iptables = shutil.which("iptables") or "iptables"
    subprocess.run([iptables, "-t", "nat", "-A", *rule], check=True)
    server = ThreadingHTTPServer((SERVER, 8080), Models)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield mesh_cluster
    server.shutdown()
    server.server_close()
    subprocess.run([iptables, "-t", "nat", "-D", *rule], check=True)
    mesh_cluster.kubectl("delete", "peerauthentication,destinationrule", "default", "-n", SECURE)


def istio(version: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "default", "namespace": SECURE}, "spec": spec}


def ask(
    address: str, port: int, host: str, model: str = "vault-7b", prompt: str = "hi"
) -> tuple[int, dict[str, str], dict[str, str]]:
    """Status, headers, and the headers that the model server got; status 0: no answer."""
    connection = http.client.HTTPConnection(address, port, timeout=20)
    try:
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": prompt}]})
        headers = {"host": host, "content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        told = json.loads(text)["told"] if answer.status == 200 else {}
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, told
    except (OSError, http.client.HTTPException):
        return 0, {}, {}
    finally:
        connection.close()


def test_a_policy_is_carried_out_under_mutual_tls(secure: ControlPlane, tmp_path: Path) -> None:
    proxies = (
        ("router", GATEWAY, "gateway-0", INGRESS, {"istio": "ingressgateway"}),
        ("sidecar", SERVER, "vault-0", SECURE, {"app": "vault", "version": "v1"}),
    )
    with ExitStack() as stack:
        listen = f"{PROCESSOR_ADDRESSES[0]}:50051"
        processor = ClusterProcessor(secure.admin, "--namespace", SECURE, "--listen", listen)
        until(stack.enter_context(processor).ready().is_ready, PATIENCE)
        envoys = []
        for number, (kind, address, name, namespace, labels) in enumerate(proxies):
            place = tmp_path / kind
            place.mkdir()
            stack.enter_context(MeshAgent(secure, kind, address, name, namespace, place, 15020 + number))
            envoy = MeshEnvoy(kind, address, name, namespace, labels, place, agent=True)
            envoys.append(stack.enter_context(envoy))
        spec: dict[str, Any] = {"models": ["vault-*"], "host": f"vault.{SECURE}.svc.cluster.local", "port": 8080}
        secure.apply(policy(SECURE, "vault", **spec, versions=[{"name": "v1", "weight": 1}]))
        flags = ("--for", "gateway", "--gateway", f"{INGRESS}/gateway", "--host", HOST, "--processor", PROCESSOR)
        stack.enter_context(ControllerProcess(secure, SECURE, *flags))
        waits_for(secure, SECURE, "vault")
        until(lambda: ask(GATEWAY, 80, HOST)[1].get("x-model-version") == "v1", PATIENCE, pause=0.2)
        status, _, told = ask(GATEWAY, 80, HOST)
        assert (status, told["x-model-version"]) == (200, "v1")
        # What the server's sidecar says of the certificates.
        seen = dict(part.partition("=")[::2] for part in told["x-forwarded-client-cert"].split(";"))
        assert seen["By"] == f"spiffe://cluster.local/ns/{SECURE}/sa/default"
        assert seen["URI"] == f"spiffe://cluster.local/ns/{INGRESS}/sa/default"
        assert ask(SERVER, 8080, "vault")[0] == 0, "who has no certificate gets no answer"
        assert [envoy.rejected() for envoy in envoys] == [{}, {}], [envoy.said() for envoy in envoys]
        secure.kubectl("delete", "mip", "--all", "-n", SECURE)
        until(lambda: not live(secure), PATIENCE)
