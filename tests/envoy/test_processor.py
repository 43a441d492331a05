"""The processor as a process of its own behind a real Envoy: it dies, drains and reloads under traffic."""

from __future__ import annotations

import http.client
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from extproc.policyfile import loader
from extproc.render.envoy.envoy_options import PROCESSOR
from tests.envoy.conftest import Gateway, ModelServer
from tests.grpc.served import Served
from tests.waiting import until

pytestmark = pytest.mark.envoy

POLICY = """\
apiVersion: ai.istio.io/v1alpha1
kind: ModelInferencePolicy
metadata: {name: llama}
spec:
  host: llama
  models: [llama]
  limits: {maxBody: 4Mi}
  versions:
  - {name: v1, weight: 90, endpoints: ["ONE"]}
  - {name: v2, weight: 10, endpoints: ["TWO"]}
  sticky: {header: x-user-id}
"""

Start = Callable[..., Gateway]


class Traffic:
    """A few clients that never stop asking; every answer but 200 is a failure."""

    def __init__(self, gateway: Gateway, clients: int = 4) -> None:
        self.answers, self.clients = 0, clients
        self.failures: list[str] = []
        self._gateway = gateway
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(clients)]

    def _run(self, client: int) -> None:
        n = 0
        while not self._stop.is_set():
            n += 1
            try:
                answer = self._gateway.ask("llama", x_user_id=f"user-{client}-{n}")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                continue
            if answer.status != 200:
                self.failures.append(f"{answer.status} {answer.text}")
            self.answers += 1

    def more(self, count: int) -> None:
        """Returns after so many more answers, or a failure."""
        goal = self.answers + count
        until(lambda: self.answers >= goal or self.failures, 30)

    def answer(self, count: int) -> None:
        """Returns after so many more answers, whatever they are."""
        goal = self.answers + count
        until(lambda: self.answers >= goal, 30)

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


@pytest.fixture
def models(servers: Callable[..., list[ModelServer]]) -> list[ModelServer]:
    return servers("v1", "v2")


@pytest.fixture
def policy(models: list[ModelServer], tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.replace("ONE", models[0].address).replace("TWO", models[1].address))
    return path


@pytest.fixture
def serve(policy: Path) -> Iterator[Callable[..., Served]]:
    with ExitStack() as stack:
        yield lambda *options, **more: stack.enter_context(Served(policy, *options, **more)).ready()


@pytest.fixture
def open_gateway(policy: Path, gateway: Start) -> Start:
    """A gateway for the policy, in front of the processors given."""
    return lambda *processors, **options: gateway(loader.load([policy]).snapshot, *processors, **options)


def healthy(gateway: Gateway) -> int:
    """How many processors get requests, to Envoy."""
    (found,) = gateway.envoy.stats(f"cluster.{PROCESSOR}.membership_healthy").values()
    return found


def routed(gateway: Gateway) -> bool:
    """The processor decides again."""
    return "x-model-version" in gateway.ask("llama").headers


def test_killed_and_restarted_under_traffic_no_request_fails(serve: Callable[..., Served], open_gateway: Start) -> None:
    first = serve()
    gateway = open_gateway(first.address)
    with Traffic(gateway) as traffic:
        traffic.more(50)
        first.process.kill()
        traffic.more(100)
        assert not routed(gateway)
        second = serve(listen=first.address)
        until(lambda: routed(gateway))
        traffic.more(100)
    assert traffic.failures == []
    served = 'inference_requests_total{api="openai",code="200",gpu_pool="none",model="llama",version="v1"}'
    until(lambda: second.metric(served))


@pytest.mark.parametrize("body", ["buffered", "streamed"])
def test_each_of_two_killed_in_turn_only_what_it_held_fails(
    body: str, serve: Callable[..., Served], open_gateway: Start
) -> None:
    """Each as soon as the other is back: Envoy must know at once who has come and who has gone."""
    team, kills = [serve(), serve()], 4
    gateway = open_gateway(*(one.address for one in team), body=body, fail_open=False)
    until(lambda: healthy(gateway) == 2)
    with Traffic(gateway) as traffic:
        for number in range(kills):
            traffic.answer(100)
            address = team[number % 2].address
            team[number % 2].process.kill()
            traffic.answer(100)
            team[number % 2] = serve(listen=address)
            until(lambda: healthy(gateway) == 2)
    assert len(traffic.failures) <= kills * traffic.clients, "those that were under way"


@pytest.mark.parametrize("fail_open", [True, False])
def test_draining_one_of_two_under_traffic_no_request_fails(
    fail_open: bool, serve: Callable[..., Served], open_gateway: Start
) -> None:
    first, second = serve("--drain", "3"), serve()
    gateway = open_gateway(first.address, second.address, fail_open=fail_open)
    with Traffic(gateway) as traffic:
        traffic.more(50)
        first.signal(signal.SIGTERM)
        assert first.exit_status() == 0
        traffic.more(100)
        assert routed(gateway)
    assert traffic.failures == []


def test_draining_the_only_one_fails_open(serve: Callable[..., Served], open_gateway: Start) -> None:
    only = serve("--drain", "3")
    gateway = open_gateway(only.address)
    with Traffic(gateway) as traffic:
        traffic.more(50)
        only.signal(signal.SIGTERM)
        assert only.exit_status() == 0
        traffic.more(50)
    assert traffic.failures == []


def test_a_bad_reload_does_not_touch_traffic(serve: Callable[..., Served], open_gateway: Start, policy: Path) -> None:
    server = serve()
    gateway = open_gateway(server.address)
    with Traffic(gateway) as traffic:
        traffic.more(20)
        policy.write_text(policy.read_text().replace("weight: 90", "weight: many"))
        until(lambda: server.config()["problems"])
        traffic.more(50)
        assert routed(gateway)
    assert traffic.failures == []
    assert server.metric('extproc_policy_reloads_total{result="failure"}') == 1
    assert server.metric('inference_unmatched_total{reason="no_policy"}') == 0


@pytest.mark.parametrize("body", ["streamed", "buffered"])
def test_clients_that_leave_in_the_middle_leave_no_stream(
    body: str, serve: Callable[..., Served], open_gateway: Start
) -> None:
    server = serve()
    gateway = open_gateway(server.address, body=body)
    host, _, port = gateway.envoy.listen_address.rpartition(":")
    request = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n" + b'{"model":"lla'
    clients = [socket.create_connection((host, int(port))) for _ in range(20)]
    for client in clients:
        client.sendall(request)
    until(lambda: server.metric("extproc_streams") == 20)
    for client in clients:
        client.close()
    until(lambda: server.metric("extproc_streams") == 0)
    assert gateway.ask("llama").status == 200
    until(lambda: server.metric("extproc_streams") == 0)


def test_bodies_and_no_bodies(serve: Callable[..., Served], open_gateway: Start, models: list[ModelServer]) -> None:
    server = serve()
    gateway = open_gateway(server.address)
    padding = b" " * (3 << 20)

    whole = gateway.post(b'{"model":"llama"}' + padding, x_user_id="ann")
    chunked = gateway.post(iter([b'{"model":', b'"llama"}', padding]), x_user_id="ann")
    assert whole.status == chunked.status == 200
    assert whole.headers["x-model-version"] == chunked.headers["x-model-version"] == whole.text
    seen = [s for m in models for s in m.seen]
    assert seen[0].sha == seen[1].sha
    assert seen[0].headers["content-length"] == str(len(padding) + 17)
    assert "content-length" not in seen[1].headers

    for body in (b'{"model":"llama"}' + padding * 2, iter([b'{"model":"llama"}', padding, padding])):
        refused = gateway.post(body)
        assert (refused.status, refused.error["code"]) == (413, "request_too_large")

    connection = gateway.open()
    connection.request("GET", "/v1/agents", headers={"x-model-version": "v2"})
    answer = connection.getresponse()
    assert (answer.status, answer.read() in (b"v1", b"v2")) == (200, True)
    assert [s.headers.get("x-model-version") for m in models for s in m.seen if s.path == "/v1/agents"] == [None]
    until(lambda: server.metric('inference_unmatched_total{reason="no_api"}') == 1)
    until(lambda: server.metric("extproc_streams") == 0)


def test_what_is_counted_is_what_envoy_counted(
    serve: Callable[..., Served], open_gateway: Start, models: list[ModelServer]
) -> None:
    server = serve()
    gateway = open_gateway(server.address)
    for n in range(60):
        assert gateway.ask("llama", x_user_id=str(n)).status == 200
    assert gateway.post(b'{"model":"llama","model":"llama"}').status == 400

    def ours(version: str) -> float:
        return server.metric(
            f'inference_requests_total{{api="openai",code="200",gpu_pool="none",model="llama",version="{version}"}}'
        )

    until(lambda: ours("v1") + ours("v2") == 60)
    for name, model in zip(("v1", "v2"), models, strict=True):
        assert ours(name) == len(model.seen)
        assert gateway.envoy.stats(f"cluster.llama/{name}.upstream_rq_total") == {
            f"cluster.llama/{name}.upstream_rq_total": len(model.seen)
        }
    assert min(len(m.seen) for m in models) > 0
    refused = 'inference_requests_total{api="openai",code="400",gpu_pool="none",model="other",version="none"}'
    until(lambda: server.metric(refused) == 1)
    assert "extproc_errors_total{" not in server.get("/metrics")[1]
