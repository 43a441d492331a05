"""Envoy's account of each request: what clients and model servers saw is what the processor counts."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
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
REQUESTS = int(os.environ.get("EXTPROC_TEST_REQUESTS", "300"))
"""Of the experiment in which everything fails at random; 10,000 take some minutes."""
EVENT = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)


def one(*endpoints: str, **policy: Any) -> Snapshot:
    return Snapshot((Policy("p", models=("m",), versions=(Version("v1", 1, endpoints),), timeout=TIMEOUT, **policy),))


def begin(request: Handler) -> None:
    """The head of a stream, and one event."""
    request.send_response(200)
    request.send_header("content-type", "text/event-stream")
    request.send_header("transfer-encoding", "chunked")
    request.end_headers()
    request.wfile.write(CHUNK)
    request.wfile.flush()


def stream(request: Handler) -> None:
    begin(request)
    request.wfile.write(CHUNK + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


def hang_up(request: Handler) -> None:
    request.connection.shutdown(socket.SHUT_RDWR)
    request.close_connection = True


def break_off(request: Handler) -> None:
    begin(request)
    hang_up(request)


class Waiting:
    """Answers that stop until they are let go."""

    def __init__(self) -> None:
        self.reached, self._released = threading.Event(), threading.Event()

    def before(self, _: Handler) -> None:
        self.reached.set()
        self._released.wait(20)

    def amid(self, request: Handler) -> None:
        begin(request)
        self.before(request)

    def release(self) -> None:
        self._released.set()


@pytest.fixture
def waiting() -> Iterator[Waiting]:
    found = Waiting()
    yield found
    found.release()


def requests(processor: Processor) -> dict[tuple[str, ...], float]:
    """(model, version, code): how many."""
    found = dict[tuple[str, ...], float]()
    for (model, version, _, _, code), count in processor.metrics._counters["inference_requests"].items():
        found[model, version, code] = found.get((model, version, code), 0) + count
    return found


def errors(processor: Processor) -> dict[str, float]:
    found = dict[str, float]()
    for (*_, reason), count in processor.metrics._counters["inference_errors"].items():
        found[reason] = found.get(reason, 0) + count
    return found


def faults(processor: Processor) -> dict[str, float]:
    return {reason: count for (reason,), count in processor.metrics._counters["extproc_errors"].items()}


def counted(processor: Processor) -> float:
    return sum(requests(processor).values())


ENDINGS = {
    "whole": (say(b"{}", content_type="application/json"), "200", {}),
    "streamed": (stream, "200", {}),
    "an error of the server's own": (say(b"{}", 500), "500", {}),
    "hangs up before the answer": (hang_up, "503", {"upstream_reset": 1}),
    "breaks off amid the answer": (break_off, "200", {"upstream_broke_off": 1}),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_answer_ends_as_the_server_ends_it(
    ending: str, servers: Servers, processor: Process, gateway: Start
) -> None:
    (server,) = servers("v1")
    server.then, code, failures = ENDINGS[ending]
    snapshot = one(server.address)
    running = processor(snapshot)
    with suppress(http.client.IncompleteRead):
        gateway(snapshot, running.address).ask("m")
    until(lambda: counted(running) == 1)
    assert (requests(running), errors(running), faults(running)) == ({("m", "v1", code): 1}, failures, {})


def test_a_server_that_does_not_begin(servers: Servers, processor: Process, gateway: Start, waiting: Waiting) -> None:
    (server,) = servers("v1")
    server.then = waiting.before
    snapshot = one(server.address)
    running = processor(snapshot)
    assert gateway(snapshot, running.address).ask("m").status == 504
    until(lambda: counted(running) == 1)
    assert (requests(running), errors(running)) == ({("m", "v1", "504"): 1}, {"upstream_timeout": 1})


def test_a_server_that_is_not_there(processor: Process, gateway: Start) -> None:
    snapshot = one("127.0.0.1:1")
    running = processor(snapshot)
    assert gateway(snapshot, running.address).ask("m").status == 503
    until(lambda: counted(running) == 1)
    assert (requests(running), errors(running)) == ({("m", "v1", "503"): 1}, {"upstream_unreachable": 1})


@pytest.mark.parametrize(("when", "code"), [("before", "0"), ("amid", "200")])
def test_a_client_that_leaves(
    when: str, code: str, servers: Servers, processor: Process, gateway: Start, waiting: Waiting
) -> None:
    (server,) = servers("v1")
    server.then = getattr(waiting, when)
    snapshot = one(server.address)
    running = processor(snapshot)
    connection = gateway(snapshot, running.address).open()
    connection.request("POST", "/v1/chat/completions", b'{"model":"m"}', {"content-type": "application/json"})
    if when == "amid":
        assert connection.getresponse().read(len(EVENT)) == EVENT
    assert waiting.reached.wait(10)
    connection.close()
    until(lambda: counted(running) == 1)
    assert (requests(running), errors(running)) == ({("m", "v1", code): 1}, {"client_left": 1})


def test_an_answer_that_tells_of_a_failure_and_is_broken_off_has_failed_once(
    servers: Servers, processor: Process, gateway: Start
) -> None:
    (server,) = servers("v1")

    def fail_and_break_off(request: Handler) -> None:
        begin(request)
        event = b'data: {"error":{"message":"CUDA out of memory"}}\n\n'
        request.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
        request.wfile.flush()
        hang_up(request)

    server.then = fail_and_break_off
    snapshot = one(server.address)
    running = processor(snapshot)
    with suppress(http.client.IncompleteRead):
        gateway(snapshot, running.address).ask("m")
    until(lambda: counted(running) == 1)
    assert errors(running) == {"error_in_stream": 1}


def test_a_client_that_does_not_send_all_is_no_failure_of_the_servers(
    servers: Servers, processor: Process, gateway: Start
) -> None:
    (server,) = servers("v1")
    snapshot = one(server.address)

    def hurry(document: dict[str, Any]) -> None:
        text = json.dumps(document["static_resources"]["listeners"])
        hurried = re.sub(r'"(idle_timeout|stream_idle_timeout)": "[^"]*"', r'"\1": "0.5s"', text)
        document["static_resources"]["listeners"] = json.loads(hurried)

    running = processor(snapshot)
    connection = gateway(snapshot, running.address, alter=hurry).open()
    connection.putrequest("POST", "/v1/chat/completions")
    connection.putheader("content-type", "application/json")
    connection.putheader("content-length", "100")
    connection.endheaders(b'{"model":"m",')
    assert connection.getresponse().status == 408
    until(lambda: counted(running) == 1)
    assert errors(running) == {"client_stalled": 1}


def test_a_refusal_of_ours_went_nowhere(servers: Servers, processor: Process, gateway: Start) -> None:
    (server,) = servers("v1")
    snapshot = one(server.address)
    running = processor(snapshot)
    assert gateway(snapshot, running.address).post(b'{"model":"m","model":"n"}').status == 400
    until(lambda: counted(running) == 1)
    assert (requests(running), errors(running), faults(running)) == ({("other", "none", "400"): 1}, {}, {})
    assert server.seen == []


def test_a_retry_is_one_request(servers: Servers, processor: Process, gateway: Start) -> None:
    (server,) = servers("v1")
    snapshot = one(server.address, "127.0.0.1:1")
    running = processor(snapshot)
    front = gateway(snapshot, running.address, body="buffered")
    assert {front.ask("m").status for _ in range(10)} == {200}
    until(lambda: counted(running) == 10)
    assert (requests(running), errors(running)) == ({("m", "v1", "200"): 10}, {})


def test_the_version_is_where_the_request_went(servers: Servers, processor: Process, gateway: Start) -> None:
    """A route that is not what the policy says: what is decided for v2 goes to v1."""
    old, new = servers("v1", "v2")
    versions = (Version("v1", 1, (old.address,)), Version("v2", 1, (new.address,)))
    snapshot = Snapshot((Policy("p", models=("m",), versions=versions, allow_pin=True),))

    def mislead(document: dict[str, Any]) -> None:
        text = json.dumps(document["static_resources"]["listeners"]).replace('"cluster": "p/v2"', '"cluster": "p/v1"')
        document["static_resources"]["listeners"] = json.loads(text)

    running = processor(snapshot)
    front = gateway(snapshot, running.address, alter=mislead)
    assert [front.ask("m", x_model_version=version).text for version in ("v1", "v2")] == ["v1", "v1"]
    until(lambda: counted(running) == 2)
    assert requests(running) == {("m", "v1", "200"): 2}
    assert faults(running) == {"not_as_decided": 1}


def test_what_no_processor_decided_counts_where_it_went(servers: Servers, processor: Process, gateway: Start) -> None:
    """The processor is there for the account, and not for the decision."""
    (server,) = servers("v1")
    snapshot = one(server.address)
    running = processor(snapshot)

    def orphan(document: dict[str, Any]) -> None:
        (listener,) = document["static_resources"]["listeners"]
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        for each in manager["http_filters"]:
            if each["name"] == "aimesh.route":
                each["typed_config"]["grpc_service"]["envoy_grpc"]["cluster_name"] = "p/v1#grpc"

    assert gateway(snapshot, running.address, alter=orphan).ask("m").text == "v1"
    until(lambda: counted(running) == 1)
    assert (requests(running), faults(running)) == ({("other", "v1", "200"): 1}, {})


def test_what_nobody_owns_counts_without_a_version(servers: Servers, processor: Process, gateway: Start) -> None:
    """A model of no policy, and what is no inference: both go to servers of v1."""
    (server,) = servers("v1")
    running = processor(snapshot := one(server.address))
    front = gateway(snapshot, running.address)
    assert [front.ask("whose").text, front.post(b"{}", "/").text, front.post(b"a", "/upload").text] == ["v1"] * 3
    until(lambda: counted(running) == 3)
    assert (requests(running), faults(running)) == ({("other", "none", "200"): 3}, {})


def test_a_mirror_is_no_request(servers: Servers, processor: Process, gateway: Start) -> None:
    stable, shadow = servers("v1", "v2")
    versions = (Version("v1", 1, (stable.address,)), Version("v2", 0, (shadow.address,), mirror=100))
    snapshot = Snapshot((Policy("p", models=("m",), versions=versions),))
    running = processor(snapshot)
    front = gateway(snapshot, running.address)
    assert {front.ask("m").text for _ in range(5)} == {"v1"}
    until(lambda: len(shadow.seen) == 5)
    until(lambda: counted(running) == 5)
    assert requests(running) == {("m", "v1", "200"): 5}


@pytest.mark.timeout(60 + REQUESTS / 20)
def test_counts_are_the_clients_and_the_servers(servers: Servers, processor: Process, gateway: Start) -> None:
    """Requests that end in every way, at random, several at a time."""
    (server,) = servers("v1")
    ways = ["whole", "streamed", "500", "hang_up", "break_off", "leave_before", "leave_amid", "refused"]
    server.then = _as_asked
    snapshot = one(server.address)
    running = processor(snapshot)
    front = gateway(snapshot, running.address)
    draw = random.Random(1)
    plan = [draw.choice(ways) for _ in range(REQUESTS)]
    with ThreadPoolExecutor(8) as pool:
        statuses = Counter(pool.map(lambda way: _ask(front, way), plan))
    until(lambda: counted(running) == REQUESTS, 30)
    assert {
        code: sum(count for (_, _, each), count in requests(running).items() if each == code) for code in statuses
    } == statuses
    how = Counter(plan)
    arrived = Counter(seen.headers["x-way"] for seen in server.seen)
    # Who leaves at once may be gone before the request is decided, or sent.
    assert arrived.pop("leave_before", 0) <= how["leave_before"]
    assert arrived == {way: how[way] for way in ways if way not in ("leave_before", "refused")}
    assert errors(running) == {
        "client_left": how["leave_before"] + how["leave_amid"],
        "upstream_reset": how["hang_up"],
        "upstream_broke_off": how["break_off"],
    }


def _as_asked(request: Handler) -> None:
    way = request.headers["x-way"]
    if way == "whole":
        say(b"{}", content_type="application/json")(request)
    elif way == "streamed":
        stream(request)
    elif way == "500":
        say(b"{}", 500)(request)
    elif way == "hang_up":
        hang_up(request)
    elif way == "break_off":
        break_off(request)
    elif way == "leave_amid":
        begin(request)
        request.rfile.read(1)  # until Envoy lets go
    else:
        request.rfile.read(1)


def _ask(front: Gateway, way: str) -> str:
    """Asks once; the status as the client saw it."""
    connection = front.open()
    body = b'{"model":"m","model":"n"}' if way == "refused" else b'{"model":"m"}'
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json", "x-way": way})
    try:
        if way == "leave_before":
            return "0"
        response = connection.getresponse()
        if way == "leave_amid":
            response.read(len(EVENT))
        else:
            with suppress(http.client.IncompleteRead):
                response.read()
        return str(response.status)
    finally:
        connection.close()
