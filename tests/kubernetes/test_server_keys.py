"""A server outside the mesh that has a key of its own, as Envoys reach it that a real istiod drives: a gateway and a
sidecar write the key, take the client's out, and let nothing pass while no processor answers.
"""

from __future__ import annotations

import http.client
import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.istio.test_https_servers import tell
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.controllers import ControllerProcess, live
from tests.kubernetes.mesh_cluster import (
    GATEWAY,
    HOST,
    INGRESS,
    MODELS,
    PROCESSOR,
    PROCESSOR_ADDRESSES,
    SERVICES,
)
from tests.kubernetes.mesh_envoys import add_addresses, gateway, sidecar
from tests.kubernetes.processor import ClusterProcessor
from tests.kubernetes.test_policies_carried_out import policy, waits_for
from tests.waiting import until

pytestmark = pytest.mark.timeout(600)
PATIENCE = 120
SERVER = "10.77.6.1"
CHAT = SERVICES[0]
ENTRANCES = {"gateway": (GATEWAY, 80, HOST), "sidecar": (CHAT.address, 8080, f"{CHAT.host}:8080")}
"""Where clients call each proxy, and by which host."""
OWN = "of-the-client"
"""The client's own keys, all of them."""


class OutsideServer(ThreadingHTTPServer):
    """A model server. ``seen``: target and ``authorization`` of each request; ``texts``: its target and all headers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((SERVER, 8080), _Answers)
        self.seen: list[tuple[str, str]] = []
        self.texts: list[str] = []


class _Answers(BaseHTTPRequestHandler):
    server: OutsideServer

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.seen.append((self.path, self.headers.get("authorization", "")))
        self.server.texts.append(f"{self.path}\n{self.headers}")
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[OutsideServer]:
    add_addresses(SERVER)
    with OutsideServer() as made:
        Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield made
        made.shutdown()


def ask(entrance: str, target: str = "/v1/chat/completions") -> tuple[int, str, str]:
    """Status (0: the proxy is not there yet), text, and the version that was decided."""
    address, port, host = ENTRANCES[entrance]
    connection = http.client.HTTPConnection(address, port, timeout=30)
    try:
        body = json.dumps({"model": "chat-7b", "messages": [{"role": "user", "content": "hi"}]})
        headers = {"host": host, "content-type": "application/json"}
        headers |= {"authorization": f"Bearer {OWN}", "x-api-key": OWN}
        connection.request("POST", target, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers.get("x-model-version", "")
    except OSError:
        return 0, "", ""
    finally:
        connection.close()


def processors(control_plane: ControlPlane, stack: ExitStack) -> list[ClusterProcessor]:
    """At all addresses of their Service, and ready."""
    found = []
    for address in PROCESSOR_ADDRESSES:
        one = ClusterProcessor(control_plane.admin, "--namespace", MODELS, "--listen", f"{address}:50051")
        until(stack.enter_context(one).ready().is_ready, PATIENCE)
        found.append(one)
    return found


def clear(control_plane: ControlPlane) -> None:
    control_plane.kubectl("delete", "mip", "--all", "-n", MODELS)
    until(lambda: not live(control_plane), PATIENCE)


def test_the_server_gets_its_own_key_and_nobody_gets_past_the_processors(
    mesh_cluster: ControlPlane, server: OutsideServer, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    tell(key, "sk-first")
    version = {"name": "v1", "endpoints": [f"{SERVER}:8080"], "credentials": {"file": str(key)}}
    flags = ("--for", "gateway", "--gateway", f"{INGRESS}/gateway", "--host", HOST, "--processor", PROCESSOR)
    with ExitStack() as stack:
        working = processors(mesh_cluster, stack)
        envoys = [stack.enter_context(start(tmp_path / start.__name__)) for start in (gateway, sidecar)]
        mesh_cluster.apply(policy(MODELS, "chat", models=["chat-*"], host=CHAT.host, port=8080, versions=[version]))
        controller = stack.enter_context(ControllerProcess(mesh_cluster, MODELS, *flags))
        stack.callback(clear, mesh_cluster)
        waits_for(mesh_cluster, MODELS)
        for entrance in ENTRANCES:
            until(lambda entrance=entrance: ask(entrance)[2] == "v1", PATIENCE, pause=0.2)  # type: ignore[misc]
            until(lambda: server.seen and server.seen[-1][1] == "Bearer sk-first", PATIENCE)
            # Keys go, in whatever case and code; the rest stays as it came.
            ask(entrance, f"/v1/chat/completions?key={OWN}&alt=sse&Access%5FToken={OWN}&q=a%20b&API-KEY={OWN}")
            assert server.seen[-1] == ("/v1/chat/completions?alt=sse&q=a%20b", "Bearer sk-first")
            assert (ask(entrance, "/of/no/api")[0], server.seen[-1][0][:3]) == (404, "/v1")
        assert OWN not in "".join(server.texts)
        tell(key, "sk-second")
        for entrance in ENTRANCES:
            until(lambda entrance=entrance: ask(entrance)[0] == 200 and server.seen[-1][1] == "Bearer sk-second")  # type: ignore[misc]

        told = [envoy.ask("/config_dump?include_eds")[1].decode() for envoy in envoys]
        told += [json.dumps(each.config()) + each.log for each in working]
        objects = mesh_cluster.kubectl("get", "mip,serviceentries,envoyfilters,virtualservices", "-A", "-o", "yaml")
        assert [text for text in (*told, objects, controller.said()) if "sk-first" in text or "sk-second" in text] == []

        for processor in working:
            processor.process.send_signal(signal.SIGKILL)
        reached = len(server.seen)
        for entrance in ENTRANCES:
            assert ask(entrance) == (503, "", "")
        assert len(server.seen) == reached
        with ExitStack() as again:
            processors(mesh_cluster, again)
            for entrance in ENTRANCES:
                until(lambda entrance=entrance: ask(entrance)[0] == 200, PATIENCE, pause=0.2)  # type: ignore[misc]
            assert len(server.seen) == reached + len(ENTRANCES)
        assert [envoy.rejected() for envoy in envoys] == [{}, {}], [envoy.said() for envoy in envoys]
