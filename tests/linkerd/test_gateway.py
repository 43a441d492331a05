"""The gateway's bootstrap in the real Envoy, with the real processor over a unix socket.

Only the addresses are others than in the cluster: where it listens, and where the apex Services are.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from linkerd_adapter import plan
from linkerd_adapter.gateway_bootstrap import bootstrap

from extproc.gateway.envoy_process import Envoy
from extproc.render.envoy.bootstrap import EnvoyOptions
from extproc.serve.child_process import ChildProcess
from tests.envoy.conftest import Gateway, Handler, ModelServer
from tests.policy_documents import load_texts
from tests.ports import free_port
from tests.waiting import until

pytestmark = pytest.mark.envoy

POLICY = """
apiVersion: ai.istio.io/v1alpha1
kind: ModelInferencePolicy
metadata: {name: chat, namespace: ai}
spec:
  host: chat
  selector: {matchLabels: {app: chat}}
  models: [llama-3-8b]
  versions:
  - {name: v1, weight: 1}
  - {name: v2, weight: 0, match: [{headers: {x-beta: "true"}}], modelRewrite: llama-3-8b-instruct}
  - {name: shadow, mirror: 100}
  allowPin: true
"""
SNAPSHOT = load_texts([("policy.yaml", POLICY)]).snapshot


class Pod:
    """One of the gateway's: Envoy and processor, each a process, and servers in the place of the Services."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self._directory = directory
        self.apex = stack.enter_context(ModelServer("apex"))
        self.shadow = stack.enter_context(ModelServer("shadow"))
        (directory / "policy.yaml").write_text(POLICY)
        self.processor = self.start_processor()
        stack.callback(lambda: self.processor.terminate(5))
        admin = f"127.0.0.1:{free_port()}"
        options = EnvoyOptions(
            listen="127.0.0.1:0", admin=admin, processors=(f"unix://{directory}/p.sock",), access_log=""
        )
        made = plan.make(SNAPSHOT, "ai")
        document = bootstrap(
            SNAPSHOT, made, options, probes="127.0.0.1:0", processor_admin=f"unix://{directory}/admin.sock"
        )
        for cluster in document["static_resources"]["clusters"]:
            self._redirect(cluster)
        self.envoy = stack.enter_context(Envoy(document, directory))
        self.envoy.wait_ready()
        self.gateway = Gateway(self.envoy, directory / "access.log")
        stack.enter_context(self.gateway.opened)

    def start_processor(self) -> ChildProcess:
        where = f"unix://{self._directory}/p.sock", f"unix://{self._directory}/admin.sock"
        words = [
            "serve",
            "-f",
            str(self._directory / "policy.yaml"),
            "--listen",
            where[0],
            "--admin",
            where[1],
            "--drain",
            "0",
        ]
        return ChildProcess("the processor", [sys.executable, "-m", "extproc", *words])

    def _redirect(self, cluster: dict[str, Any]) -> None:
        hosts = {"chat.ai.svc.cluster.local": self.apex, "chat-shadow.ai.svc.cluster.local": self.shadow}
        for place in cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]:
            address = place["endpoint"]["address"].get("socket_address", {})
            if server := hosts.get(address.get("address", "")):
                assert cluster["type"] == "STRICT_DNS"
                assert address["port_value"] == 8080
                assert "transport_socket" not in cluster
                address["address"], address["port_value"] = server.server_address[:2]

    def probe(self, path: str) -> tuple[int, bytes]:
        listeners = json.loads(self.envoy.ask("/listeners?format=json")[1])["listener_statuses"]
        address = next(one for one in listeners if one["name"] == "probes")["local_address"]["socket_address"]
        connection = http.client.HTTPConnection(address["address"], address["port_value"], timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def until_processor_decides(self) -> None:
        until(lambda: self.probe("/readyz")[0] == 200)
        until(lambda: "x-model-version" in self.gateway.ask("llama-3-8b").headers)


@pytest.fixture(scope="module")
def pod() -> Iterator[Pod]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="gw-")))  # short: sockets have 107 characters
        made = Pod(stack, directory)
        made.until_processor_decides()
        yield made


def test_headers_are_set_and_spoofed_copies_gone(pod: Pod) -> None:
    pod.apex.seen.clear()
    forged = {"x_model_name": "other", "x_gpu_pool": "mine", "x_gpu_architecture": "z80", "x_model_version": "v9"}
    assert pod.gateway.ask("llama-3-8b", **forged, x_beta="true").text == "apex"
    (seen,) = pod.apex.seen
    assert (seen.headers["x-model-name"], seen.headers["x-model-version"]) == ("llama-3-8b", "v2")
    assert {"x-gpu-pool", "x-gpu-architecture"}.isdisjoint(seen.headers)
    assert json.loads(seen.body)["model"] == "llama-3-8b-instruct"


@pytest.mark.parametrize(("pinned", "version"), [("v2", "v2"), ("v9", "v1"), ("", "v1")])
def test_each_header_comes_once(pod: Pod, pinned: str, version: str) -> None:
    """Linkerd takes a rule where any one of several values is the wanted one."""
    lines: list[list[tuple[str, str]]] = []
    pod.apex.then, before = _noting(lines, pod.apex.then), pod.apex.then
    try:
        connection = pod.gateway.open()
        connection.putrequest("POST", "/v1/chat/completions")
        body = b'{"model": "llama-3-8b", "messages": []}'
        for name, value in (("content-length", str(len(body))), ("x-model-version", pinned), ("x-model-version", "v1")):
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()
    finally:
        pod.apex.then = before
    (headers,) = lines
    assert [value for name, value in headers if name.lower() == "x-model-version"] == [version]


def _noting(lines: list[list[tuple[str, str]]], then: Callable[[Handler], None]) -> Callable[[Handler], None]:
    def answer(request: Handler) -> None:
        lines.append(list(request.headers.items()))
        then(request)

    return answer


def test_an_answer_streams_through(pod: Pod) -> None:
    """The second event is written only when the client has the first."""
    arrived = threading.Event()

    def stream(request: Handler) -> None:
        request.send_response(200)
        request.send_header("content-type", "text/event-stream")
        request.send_header("transfer-encoding", "chunked")
        request.end_headers()
        for event in (b"data: one\n\n", b"data: two\n\n"):
            request.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            request.wfile.flush()
            assert arrived.wait(10)
        request.wfile.write(b"0\r\n\r\n")

    pod.apex.then, before = stream, pod.apex.then
    try:
        connection = pod.gateway.open(10)
        body = b'{"model": "llama-3-8b", "stream": true, "messages": []}'
        connection.request("POST", "/v1/chat/completions", body)
        answer = connection.getresponse()
        first = answer.read1(100)
        assert not arrived.is_set()
        arrived.set()
        assert first == b"data: one\n\n"
        assert answer.read() == b"data: two\n\n"
    finally:
        arrived.set()
        pod.apex.then = before


def test_mirrors_get_copies_from_envoy(pod: Pod) -> None:
    def copies() -> list[str]:
        return [seen.headers["x-model-version"] for seen in pod.shadow.seen if seen.headers.get("x-tag") == "mirrored"]

    assert pod.gateway.ask("llama-3-8b", x_tag="mirrored").text == "apex"
    until(copies)
    assert copies() == ["v1"]


def test_probes_show_what_the_kubelet_and_prometheus_want_and_no_more(pod: Pod) -> None:
    for path in ("/healthz", "/readyz", "/envoy/ready"):
        assert pod.probe(path)[0] == 200, path
    assert b"extproc_policy_info" in pod.probe("/metrics")[1]
    assert b"envoy_cluster_upstream_rq" in pod.probe("/envoy/metrics")[1]
    for path in (
        "/config",
        "/quitquitquit",
        "/envoy/quitquitquit",
        "/metrics/../config",
        "/envoy/ready/../../config",
        "/",
    ):
        assert pod.probe(path)[0] == 404, path


def test_a_processor_that_died_is_missed_by_nobody_and_found_again(pod: Pod) -> None:
    """Without it requests go on, and a pin that it has not seen does not; its container's restart takes the sockets."""
    pod.processor.process.kill()
    pod.processor.process.wait()
    pod.apex.seen.clear()
    assert pod.gateway.ask("llama-3-8b", x_model_version="v2").text == "apex"
    assert "x-model-version" not in pod.apex.seen[0].headers
    until(lambda: pod.probe("/readyz")[0] == 503)
    pod.processor = pod.start_processor()
    pod.until_processor_decides()
