"""A mirror gets its share of copies from the real Envoy, and nothing that it does reaches a client."""

from __future__ import annotations

import json
import socket
import threading
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

BODIES = pytest.mark.parametrize("body", ["streamed", "buffered"])


def mirrored(server: ModelServer, mirror: str, share: int = 100, rewrite: str = "") -> Snapshot:
    versions = (Version("v1", 1, (server.address,), model_rewrite=rewrite), Version("copy", 0, (mirror,), mirror=share))
    return Snapshot((Policy("p", models=("m",), versions=versions),))


@BODIES
def test_a_copy_is_the_request_as_the_answering_version_got_it(
    body: str, servers: Servers, processor: Process, gateway: Start
) -> None:
    one, copy = servers("v1", "copy")
    copy.then = say(b"never seen", 500, x_model_version="lie")
    snapshot = mirrored(one, copy.address, rewrite="m-instruct")
    envoy = gateway(snapshot, processor(snapshot).address, body=body)
    large = json.dumps({"prompt": "x" * (3 << 20), "model": "m"}).encode()
    answers = [envoy.ask("m", authorization="Bearer secret", host="models.example.com"), envoy.post(large)]
    assert [(a.status, a.text, a.headers["x-model-version"]) for a in answers] == [(200, "v1", "v1")] * 2
    until(lambda: len(copy.seen) == 2)
    added = {"x-envoy-internal", "x-forwarded-for"}
    for theirs, ours in zip(sorted(copy.seen, key=lambda s: len(s.body)), one.seen, strict=True):
        assert (theirs.path, theirs.sha) == (ours.path, ours.sha)
        assert {k: v for k, v in theirs.headers.items() if k not in added} == {
            k: v for k, v in ours.headers.items() if k not in added
        }
    assert json.loads(one.seen[0].body)["model"] == "m-instruct"
    assert copy.seen[0].headers["host"] == "models.example.com"


def test_a_share_of_the_requests_is_copied(servers: Servers, processor: Process, gateway: Start) -> None:
    one, copy = servers("v1", "copy")
    snapshot = mirrored(one, copy.address, share=40)
    envoy = gateway(snapshot, processor(snapshot).address)
    assert {envoy.ask("m").text for _ in range(300)} == {"v1"}
    total = "cluster.p/copy.upstream_rq_total"
    copies = envoy.envoy.stats(total)[total]
    assert 78 <= copies <= 162  # 120 are expected; outside less than once in a million runs
    until(lambda: len(copy.seen) == copies)


def test_also_while_no_processor_decides(servers: Servers, gateway: Start) -> None:
    one, copy = servers("v1", "copy")
    envoy = gateway(mirrored(one, copy.address), "127.0.0.1:1")
    assert envoy.ask("m").text == "v1"
    until(lambda: copy.seen)


def test_nobody_can_choose_a_mirror(servers: Servers, processor: Process, gateway: Start) -> None:
    one, copy = servers("v1", "copy")
    versions = (Version("v1", 1, (one.address,)), Version("copy", 0, (copy.address,), mirror=1))
    snapshot = Snapshot((Policy("p", models=("m",), versions=versions, allow_pin=True),))
    envoy = gateway(snapshot, processor(snapshot).address)
    assert envoy.ask("m", x_model_version="copy").text == "v1"
    assert envoy.logged()["cohort"] == "default"


def test_a_mirror_that_hangs_delays_nobody_and_is_cut_off(servers: Servers, processor: Process, gateway: Start) -> None:
    one, copy = servers("v1", "copy")
    released = threading.Event()

    def hang(_: Handler) -> None:
        released.wait(30)

    def soon(document: dict[str, Any]) -> None:
        for cluster in document["static_resources"]["clusters"]:
            for options in cluster["typed_extension_protocol_options"].values():
                common = options.get("common_http_protocol_options", {})
                common |= {"max_stream_duration": "0.5s"} if "max_stream_duration" in common else {}

    copy.then = hang
    snapshot = mirrored(one, copy.address)
    envoy = gateway(snapshot, processor(snapshot).address, alter=soon)
    assert {envoy.ask("m").text for _ in range(50)} == {"v1"}
    assert len(copy.seen) > 0
    cut = "cluster.p/copy.upstream_rq_max_duration_reached"
    active = "cluster.p/copy.upstream_rq_active"
    until(lambda: envoy.envoy.stats(cut).get(cut) == 50)
    assert envoy.envoy.stats(active)[active] == 0
    released.set()


def test_a_mirror_that_does_not_read_holds_no_body_back(servers: Servers, processor: Process, gateway: Start) -> None:
    (one,) = servers("v1")
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        snapshot = mirrored(one, f"127.0.0.1:{deaf.getsockname()[1]}")
        envoy = gateway(snapshot, processor(snapshot).address)
        large = b'{"model": "m", "prompt": "' + b"x" * (7 << 20) + b'"}'
        for _ in range(5):
            assert envoy.post(large).text == "v1"


def test_a_dead_mirror_harms_nobody(servers: Servers, processor: Process, gateway: Start) -> None:
    (one,) = servers("v1")
    snapshot = mirrored(one, "127.0.0.1:1")
    envoy = gateway(snapshot, processor(snapshot).address)
    answers = [envoy.ask("m") for _ in range(30)]
    assert {(a.status, a.text) for a in answers} == {(200, "v1")}
    total = "cluster.p/copy.upstream_cx_connect_fail"
    assert envoy.envoy.stats(total)[total] > 0
