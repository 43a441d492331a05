"""Several workers behind a real Envoy, and one of them with thousands of streams: no request fails."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

from extproc.grpc_server import ENGINES
from extproc.policyfile import loader
from extproc.render.envoy.envoy_options import PROCESSOR
from tests.envoy.conftest import Gateway, ModelServer
from tests.envoy.test_processor import POLICY, Traffic, healthy, routed
from tests.grpc.certificate_files import Files
from tests.grpc.served import Served, ServedWorkers
from tests.waiting import until

pytestmark = pytest.mark.envoy

ROUNDS = int(os.environ.get("EXTPROC_TEST_ROUNDS", "1"))
"""Of restarts: `make test-rolling` has 20."""
IDLE = 2000

Start = Callable[..., Gateway]


@pytest.fixture
def policy(servers: Callable[..., list[ModelServer]], tmp_path: Path) -> Path:
    one, two = servers("v1", "v2")
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.replace("ONE", one.address).replace("TWO", two.address))
    return path


@pytest.fixture
def team(policy: Path, tmp_path: Path) -> Iterator[ServedWorkers]:
    with ExitStack() as stack:
        yield stack.enter_context(ServedWorkers(policy, 2, "--drain", "3", listen=f"unix://{tmp_path}/p.sock")).ready()


@pytest.fixture
def open_gateway(policy: Path, gateway: Start) -> Start:
    """A gateway for the policy, in front of the processors given."""
    return lambda *processors, **options: gateway(loader.load([policy]).snapshot, *processors, **options)


def addresses(team: ServedWorkers) -> list[str]:
    return [address for worker in team.workers() for address in worker["listen"]]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("body", ["streamed", "buffered"])
def test_every_engine_serves_an_envoy(engine: str, body: str, policy: Path, open_gateway: Start) -> None:
    with Served(policy, "--engine", engine, "--drain", "0") as server:
        gateway = open_gateway(server.ready().address, body=body, fail_open=False)
        until(lambda: healthy(gateway) == 1)
        with Traffic(gateway) as traffic:
            traffic.more(50)
        assert traffic.failures == []
        assert routed(gateway)
        until(lambda: server.metric("extproc_streams") == 0)
        server.signal(signal.SIGTERM)
        assert server.exit_status() == 0


@pytest.mark.timeout(60 + 60 * ROUNDS)
def test_a_rolling_restart_under_load_fails_no_request(team: ServedWorkers, open_gateway: Start) -> None:
    gateway = open_gateway(*addresses(team), fail_open=False)
    until(lambda: healthy(gateway) == 2)
    with Traffic(gateway) as traffic:
        traffic.more(50)
        for _ in range(ROUNDS):
            for number in range(2):
                pid = team.pids()[number]
                os.kill(pid, signal.SIGTERM)
                until(lambda gone=pid: gone not in team.pids() and team.all_ready(), 30)  # type: ignore[misc]
                until(lambda: healthy(gateway) == 2, 30)
                traffic.more(50)
    assert traffic.failures == []
    assert team.metric("extproc_worker_restarts_total") == 2 * ROUNDS


def test_both_workers_get_work(team: ServedWorkers, open_gateway: Start) -> None:
    gateway = open_gateway(*addresses(team))
    until(lambda: healthy(gateway) == 2)
    with Traffic(gateway) as traffic:
        traffic.more(200)
    assert traffic.failures == []
    asked = [int(line.rpartition("::")[2]) for line in _endpoints(gateway) if "::rq_success::" in line]
    assert len(asked) == 2
    assert min(asked) > 20


def _endpoints(gateway: Gateway) -> list[str]:
    lines = gateway.envoy.ask("/clusters")[1].decode().splitlines()
    return [line for line in lines if line.startswith(f"{PROCESSOR}::")]


def test_thousands_of_idle_streams(policy: Path, open_gateway: Start) -> None:
    """Clients that have begun to send and then wait; others are served as if they were not there."""
    with Served(policy) as server, ExitStack() as clients:
        gateway = open_gateway(server.ready().address)
        host, _, port = gateway.envoy.listen_address.rpartition(":")
        request = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n" + b'{"model":"lla'
        for _ in range(IDLE):
            client = clients.enter_context(socket.create_connection((host, int(port))))
            client.sendall(request)
        until(lambda: server.metric("extproc_streams") == IDLE)
        for n in range(20):
            assert gateway.ask("llama", x_user_id=str(n)).status == 200
        assert routed(gateway)
        assert server.metric("extproc_streams") >= IDLE
        clients.close()
        until(lambda: server.metric("extproc_streams") == 0)


def test_streams_that_wait_make_room_for_others(policy: Path, open_gateway: Start) -> None:
    with Served(policy, "--max-streams", "10") as server, ExitStack() as clients:
        gateway = open_gateway(server.ready().address)
        host, _, port = gateway.envoy.listen_address.rpartition(":")
        request = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n" + b'{"model":"lla'
        for _ in range(10):
            clients.enter_context(socket.create_connection((host, int(port)))).sendall(request)
        until(lambda: server.metric('extproc_errors_total{reason="too_many_bodies"}') >= 5)
        assert routed(gateway)
        assert server.health() == 1, "full is not ill"
        clients.close()
        until(lambda: server.metric("extproc_streams") == 0)


def test_over_mtls(policy: Path, open_gateway: Start, tmp_path: Path) -> None:
    ours, theirs = trustme.CA(), trustme.CA()
    files, envoys = Files(tmp_path), theirs.issue_cert("envoy")
    files.issue(ours)
    files.trust(theirs)
    context = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "tls_certificates": [
                {
                    "certificate_chain": {"inline_string": "".join(b.bytes().decode() for b in envoys.cert_chain_pems)},
                    "private_key": {"inline_string": envoys.private_key_pem.bytes().decode()},
                }
            ],
            "validation_context": {"trusted_ca": {"inline_string": ours.cert_pem.bytes().decode()}},
        },
    }

    def with_tls(document: dict[str, Any]) -> None:
        cluster = next(c for c in document["static_resources"]["clusters"] if c["name"] == PROCESSOR)
        cluster["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": context}

    flags = ("--tls-cert", str(files.certificate), "--tls-key", str(files.key), "--tls-client-ca", str(files.client_ca))
    with Served(policy, *flags) as server:
        gateway = open_gateway(server.ready().address, alter=with_tls, fail_open=False)
        until(lambda: healthy(gateway) == 1)
        assert routed(gateway)
        assert gateway.ask("llama", x_user_id="ann").status == 200
