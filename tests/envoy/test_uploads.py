"""What a client uploads arrives byte for byte, wherever in the body the processor has made up its mind, or died."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator

import pytest

from extproc.policy.snapshot import Policy, Snapshot, Version
from tests.waiting import until

from .conftest import Gateway, ModelServer, Processor

pytestmark = pytest.mark.envoy

Servers = Callable[..., list[ModelServer]]
Start = Callable[..., Gateway]
Process = Callable[..., Processor]

PIECE = 100_000
FILTER = "http.aimesh.ext_proc.aimesh_route"
STARTED, CLOSED, SENT = f"{FILTER}.streams_started", f"{FILTER}.streams_closed", f"{FILTER}.stream_msgs_sent"
BODIES = pytest.mark.parametrize("body", ["streamed", "buffered"])
PATHS = pytest.mark.parametrize("path", ["/v2/models/m/infer", "/unknown"])


@pytest.fixture
def snapshot(servers: Servers) -> tuple[Snapshot, ModelServer, ModelServer]:
    """A policy with a timeout and a mirror: both have Envoy look after the request while it is sent."""
    one, copy = servers("v1", "copy")
    versions = (Version("v1", 1, (one.address,)), Version("copy", 0, (copy.address,), mirror=100))
    return Snapshot((Policy("p", versions=versions, timeout=30.0),)), one, copy


def upload() -> bytes:
    return random.Random(7).randbytes(12 * PIECE + 17)


def pieces(data: bytes, after_first: Callable[[], object]) -> Iterator[bytes]:
    yield data[:PIECE]
    after_first()
    yield from (data[at : at + PIECE] for at in range(PIECE, len(data), PIECE))


@BODIES
@PATHS
def test_the_head_decides_while_the_body_is_on_its_way(
    body: str, path: str, snapshot: tuple[Snapshot, ModelServer, ModelServer], processor: Process, gateway: Start
) -> None:
    policies, one, copy = snapshot
    envoy = gateway(policies, processor(policies).address, body=body)
    data = upload()

    def decided() -> None:
        until(lambda: envoy.envoy.stats(CLOSED).get(CLOSED, 0) >= envoy.envoy.stats(STARTED).get(STARTED, 1))

    for _ in range(5):
        assert envoy.post(pieces(data, decided), path).text == "v1"
        assert envoy.post(pieces(data, lambda: None), path).text == "v1"
        assert envoy.post(data, path).text == "v1"
    until(lambda: len(copy.seen) == 15)
    assert {seen.sha for seen in (*one.seen, *copy.seen)} == {hashlib.sha256(data).hexdigest()}


@BODIES
def test_the_processor_dies_in_the_middle_of_an_upload(
    body: str, snapshot: tuple[Snapshot, ModelServer, ModelServer], gateway: Start
) -> None:
    policies, one, copy = snapshot
    data = upload()
    sent = 2 if body == "streamed" else 1
    for _ in range(3):
        processor = Processor(policies)
        envoy = gateway(policies, processor.address, body=body)

        def kill(processor: Processor = processor, envoy: Gateway = envoy) -> None:
            until(lambda: envoy.envoy.stats(SENT).get(SENT, 0) >= sent)
            processor.stop()

        assert envoy.post(pieces(data, kill)).text == "v1"
    until(lambda: len(copy.seen) == 3)
    assert {seen.sha for seen in (*one.seen, *copy.seen)} == {hashlib.sha256(data).hexdigest()}
