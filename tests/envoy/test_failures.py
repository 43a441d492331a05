"""Slow, hung and dead parts: what the client gets, and when."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from extproc.policy.snapshot import Policy, Snapshot, Version
from tests.waiting import until

from .conftest import Gateway, Handler, ModelServer, Processor, say

pytestmark = pytest.mark.envoy

Servers = Callable[..., list[ModelServer]]
Start = Callable[..., Gateway]
Process = Callable[..., Processor]
TIMEOUT = 1.0


def one(server: ModelServer, timeout: float | None = TIMEOUT) -> Snapshot:
    return Snapshot((Policy("p", models=("m",), versions=(Version("v1", 1, (server.address,)),), timeout=timeout),))


def tokens(count: int, pause: float) -> Callable[[Handler], None]:
    """A streamed answer, one event each ``pause`` seconds."""

    def answer(request: Handler) -> None:
        request.send_response(200)
        request.send_header("content-type", "text/event-stream")
        request.send_header("transfer-encoding", "chunked")
        request.end_headers()
        for number in range(count):
            event = b"data: %d\n\n" % number
            request.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            request.wfile.flush()
            time.sleep(pause)
        request.wfile.write(b"0\r\n\r\n")

    return answer


def test_a_stream_outlives_the_policys_timeout(servers: Servers, processor: Process, gateway: Start) -> None:
    (server,) = servers("v1")
    server.then = tokens(6, TIMEOUT / 2)
    snapshot = one(server)
    start = time.monotonic()
    answer = gateway(snapshot, processor(snapshot).address).ask("m")
    assert time.monotonic() - start > 2 * TIMEOUT
    assert answer.text == "".join(f"data: {n}\n\n" for n in range(6))


def test_a_server_that_does_not_begin_is_cut_and_asked_once(
    servers: Servers, processor: Process, gateway: Start
) -> None:
    """A prompt that a model may have begun is never run again."""
    (server,) = servers("v1")
    released = threading.Event()

    def hang(_: Handler) -> None:
        released.wait(10)

    server.then = hang
    snapshot = one(server)
    start = time.monotonic()
    answer = gateway(snapshot, processor(snapshot).address).ask("m")
    took = time.monotonic() - start
    released.set()
    assert (answer.status, answer.error["code"]) == (504, "timeout")
    assert TIMEOUT <= took < 3 * TIMEOUT
    assert len(server.seen) == 1


def test_a_server_that_hangs_up_is_not_asked_again(servers: Servers, processor: Process, gateway: Start) -> None:
    (server,) = servers("v1")

    def hang_up(request: Handler) -> None:
        request.connection.shutdown(socket.SHUT_RDWR)
        request.close_connection = True

    server.then = hang_up
    snapshot = one(server)
    answer = gateway(snapshot, processor(snapshot).address).ask("m")
    assert answer.status in (502, 503)
    assert answer.error["type"] == "server_error"
    assert len(server.seen) == 1


def test_a_dead_endpoint_is_passed_over(servers: Servers, processor: Process, gateway: Start) -> None:
    """With bodies gathered by asking elsewhere; with streamed ones at the price of one request."""
    (server,) = servers("v1")
    version = Version("v1", 1, (server.address, "127.0.0.1:1"))
    snapshot = Snapshot((Policy("p", models=("m",), versions=(version,)),))
    buffered = gateway(snapshot, processor(snapshot).address, body="buffered")
    assert {buffered.ask("m").status for _ in range(20)} == {200}
    streamed = gateway(snapshot, processor(snapshot).address)
    statuses = [streamed.ask("m").status for _ in range(20)]
    assert statuses.count(503) <= 1
    assert set(statuses) <= {200, 503}


def test_an_error_of_the_model_server_passes_unchanged(servers: Servers, processor: Process, gateway: Start) -> None:
    (server,) = servers("v1")
    server.then = say(b'{"object": "error"}', 503, content_type="application/json")
    snapshot = one(server)
    answer = gateway(snapshot, processor(snapshot).address).ask("m")
    assert (answer.status, answer.text) == (503, '{"object": "error"}')
    assert len(server.seen) == 1


def test_a_dead_processor_is_noticed_and_a_new_one_used(servers: Servers, gateway: Start) -> None:
    (server,) = servers("v1")
    snapshot = one(server)
    first = Processor(snapshot)
    envoy = gateway(snapshot, first.address)
    assert envoy.ask("m").headers["x-model-version"] == "v1"
    first.stop()
    healthy = "cluster.aimesh-processor.membership_healthy"
    until(lambda: envoy.envoy.stats(healthy)[healthy] == 0)
    start = time.monotonic()
    answer = envoy.ask("m")
    assert (answer.text, "x-model-version" in answer.headers) == ("v1", False)
    assert time.monotonic() - start < 1, "fails open at once, not after a timeout"
    second = Processor(snapshot, first.address)
    until(lambda: "x-model-version" in envoy.ask("m").headers)
    second.stop()


@pytest.mark.parametrize("fail_open", [True, False])
def test_a_hung_processor_costs_the_message_timeout(fail_open: bool, servers: Servers, gateway: Start) -> None:
    """It takes connections, and even streams, but never answers."""
    (server,) = servers("v1")
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"127.0.0.1:{deaf.getsockname()[1]}"
        envoy = gateway(one(server), address, message_timeout=0.3, fail_open=fail_open)
        answer = envoy.ask("m")
    if fail_open:
        assert (answer.status, answer.text) == (200, "v1")
    else:
        assert answer.status in (503, 504)
        assert answer.error["type"] == "server_error"


def test_a_client_that_pauses_longer_than_the_timeout_is_passed_on_without_a_model(
    servers: Servers, processor: Process, gateway: Start
) -> None:
    """The price of the streamed body, and why its message timeout is generous; a buffered body has no such limit."""
    (server,) = servers("v1")
    snapshot = one(server, None)
    address = processor(snapshot).address

    def pausing(envoy: Gateway) -> http.client.HTTPResponse:
        connection = envoy.open()
        body = b'{"model": "m"}'
        connection.putrequest("POST", "/v1/chat/completions")
        connection.putheader("content-type", "application/json")
        connection.putheader("content-length", str(len(body)))
        connection.endheaders(body[:5])
        time.sleep(0.5)
        connection.send(body[5:])
        response = connection.getresponse()
        response.read()
        return response

    assert pausing(gateway(snapshot, address, message_timeout=0.2, body="streamed")).headers["x-model-version"] is None
    assert pausing(gateway(snapshot, address, message_timeout=0.2)).headers["x-model-version"] == "v1"


def test_bad_http_gets_a_json_error(servers: Servers, processor: Process, gateway: Start) -> None:
    (server,) = servers("v1")
    snapshot = one(server)
    envoy = gateway(snapshot, processor(snapshot).address)
    host, _, port = envoy.envoy.listen_address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
        )
        answer = client.recv(65536)
    assert b"400 Bad Request" in answer
    assert not server.seen


def test_a_dead_processor_of_two_costs_no_decision(servers: Servers, gateway: Start) -> None:
    (server,) = servers("v1")
    snapshot = one(server)
    first, second = Processor(snapshot), Processor(snapshot)
    envoy = gateway(snapshot, first.address, second.address)
    assert {envoy.ask("m").headers["x-model-version"] for _ in range(10)} == {"v1"}
    second.stop()
    assert {envoy.ask("m").headers["x-model-version"] for _ in range(30)} == {"v1"}
    first.stop()


def test_an_upload_that_stalls_is_ended_and_a_slow_answer_is_not(
    servers: Servers, processor: Process, gateway: Start
) -> None:
    (server,) = servers("v1")
    snapshot = one(server, None)

    def hurry(document: dict[str, Any]) -> None:
        chain = document["static_resources"]["listeners"][0]["filter_chains"][0]
        chain["filters"][0]["typed_config"]["request_timeout"] = "0.5s"

    def late(request: Handler) -> None:
        time.sleep(1)
        say(b"late")(request)

    server.then = late
    envoy = gateway(snapshot, processor(snapshot).address, alter=hurry)
    assert envoy.ask("m").text == "late"
    connection = envoy.open()
    connection.putrequest("POST", "/v1/chat/completions")
    connection.putheader("content-length", "100")
    connection.endheaders(b"{")
    response = connection.getresponse()
    assert response.status == 408
    assert json.loads(response.read())["error"]["code"] == "request_timeout"
    assert len(server.seen) == 1
