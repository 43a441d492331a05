"""What clients that speak gRPC get from the processor itself, through the real Envoy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2 as kinds
from google.rpc import status_pb2

from extproc.policy.gpu import Gpu, Requirement
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version

from .conftest import Gateway, Processor, aborting

pytestmark = pytest.mark.envoy

Start = Callable[..., Gateway]
Process = Callable[..., Processor]
BODIES = pytest.mark.parametrize("body", ["streamed", "buffered"])
INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
LLAMA = b"\x0a\x05llama"


class Echo(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers every message with its metadata's model and itself."""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        model = dict(details.invocation_metadata).get("x-model-name", "-").encode()
        if details.method == STREAM:
            return grpc.stream_stream_rpc_method_handler(lambda messages, _: (model + b" " + m for m in messages))
        return grpc.unary_unary_rpc_method_handler(lambda message, _: model + b" " + message)


@pytest.fixture
def upstream() -> Iterator[str]:
    """The address of a gRPC server."""
    with ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads, (Echo(),), options=[("grpc.so_reuseport", 0)])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(0).wait()


@pytest.fixture
def channel() -> Iterator[Callable[[Gateway], grpc.Channel]]:
    with ExitStack() as stack:

        def opened(gateway: Gateway) -> grpc.Channel:
            options = [("grpc.use_local_subchannel_pool", 1)]
            return stack.enter_context(grpc.insecure_channel(gateway.envoy.listen_address, options))

        yield opened


def failure(call: Callable[[], object]) -> tuple[grpc.StatusCode, str, dict[str, Any]]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error: Any = caught.value
    metadata = {**dict(error.initial_metadata() or ()), **dict(error.trailing_metadata() or ())}
    return error.code(), error.details(), metadata


def reasons(code: grpc.StatusCode, details: str, metadata: dict[str, Any]) -> list[tuple[str, ...]]:
    """The status' details, whose code and message must be those of the status, as grpcio-status wants it."""
    found = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    assert (found.code, found.message) == (code.value[0], details)
    told: list[tuple[str, ...]] = []
    for each in found.details:
        info, bad, again = kinds.ErrorInfo(), kinds.BadRequest(), kinds.RetryInfo()
        if each.Unpack(info):
            told.append(("because", info.reason, info.domain))
        elif each.Unpack(bad):
            told.append(("bad", *(one.field for one in bad.field_violations)))
        elif each.Unpack(again):
            told.append(("again", str(again.retry_delay.seconds)))
    return told


@BODIES
def test_a_message_too_large(
    body: str, upstream: str, processor: Process, gateway: Start, channel: Callable[[Gateway], grpc.Channel]
) -> None:
    snapshot = Snapshot(
        (Policy("p", models=("llama",), versions=(Version("v1", 1, (upstream,)),), body_limit=1 << 20),)
    )
    infer = channel(gateway(snapshot, processor(snapshot).address, body=body)).unary_unary(INFER)
    assert infer(LLAMA, timeout=10) == b"llama " + LLAMA
    code, details, metadata = failure(lambda: infer(LLAMA + b"\x3a\x80\x80\x80\x01" + bytes(2 << 20), timeout=10))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    if body == "streamed":  # buffered, Envoy itself refuses it
        assert reasons(code, details, metadata) == [("because", "REQUEST_TOO_LARGE", "aimesh")]
        assert details == "the request body is larger than the 1048576 bytes allowed"


@BODIES
def test_no_gpu(
    body: str, upstream: str, processor: Process, gateway: Start, channel: Callable[[Gateway], grpc.Channel]
) -> None:
    policy = Policy("p", models=("llama",), versions=(Version("v1", 1, (upstream,)),), gpu=Requirement(memory=1 << 20))
    snapshot = Snapshot((policy,), (GpuPool("small", Gpu(architecture="a100", memory=40960), (upstream,)),))
    envoy = gateway(snapshot, processor(snapshot).address, body=body)
    code, details, metadata = failure(lambda: channel(envoy).unary_unary(INFER)(LLAMA, timeout=10))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert details == "no GPU pool can serve the model 'llama' at present"
    assert reasons(code, details, metadata) == [("because", "NO_GPU_AVAILABLE", "aimesh"), ("again", "1")]
    assert envoy.logged()["details"] == "aimesh_no_gpu_available"
    assert "content-type" not in metadata or metadata["content-type"].startswith("application/grpc")


def test_a_model_that_nobody_owns_or_that_cannot_be_read(
    upstream: str, processor: Process, gateway: Start, channel: Callable[[Gateway], grpc.Channel]
) -> None:
    versions = (Version("v1", 1, (upstream,)),)
    policy = Policy("p", models=("llama",), versions=versions, reject_unowned=True, reject_unreadable=True)
    snapshot = Snapshot((policy,))
    infer = channel(gateway(snapshot, processor(snapshot).address)).unary_unary(INFER)
    code, details, metadata = failure(lambda: infer(b"\x0a\x03who", timeout=10))
    assert code is grpc.StatusCode.NOT_FOUND
    assert reasons(code, details, metadata) == [("because", "MODEL_NOT_FOUND", "aimesh")]
    code, details, metadata = failure(lambda: infer(b"", timeout=10))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert reasons(code, details, metadata) == [("because", "NO_MODEL", "aimesh"), ("bad", "model")]


def test_what_envoy_itself_refuses(
    upstream: str, processor: Process, gateway: Start, channel: Callable[[Gateway], grpc.Channel]
) -> None:
    expected = {
        429: ("UNAVAILABLE", [("because", "RATE_LIMITED", "aimesh"), ("again", "1")]),
        503: ("UNAVAILABLE", [("because", "NO_MODEL_SERVER", "aimesh"), ("again", "1")]),
        504: ("UNAVAILABLE", [("because", "TIMEOUT", "aimesh")]),
    }
    snapshot = Snapshot((Policy("p", models=("m*",), versions=(Version("v1", 1, (upstream,)),)),))
    models = {f"m{status}": status for status in expected}
    front = gateway(snapshot, processor(snapshot).address, alter=lambda document: aborting(document, models))
    infer = channel(front).unary_unary(INFER)
    for model, status in models.items():
        message = b"\x0a\x04" + model.encode()
        code, details, metadata = failure(lambda message=message: infer(message, timeout=10))  # type: ignore[misc]
        assert (code.name, reasons(code, details, metadata)) == expected[status]


@BODIES
def test_another_name_in_a_message(
    body: str, upstream: str, processor: Process, gateway: Start, channel: Callable[[Gateway], grpc.Channel]
) -> None:
    version = Version("v1", 1, (upstream,), model_rewrite="another-model-with-a-much-longer-name")
    snapshot = Snapshot((Policy("p", models=("llama",), versions=(version,)),))
    opened = channel(gateway(snapshot, processor(snapshot).address, body=body))
    rest = b"\x3a\x80\x40" + bytes(8192)
    changed = b"\x0a\x25another-model-with-a-much-longer-name" + rest
    assert opened.unary_unary(INFER)(LLAMA + rest, timeout=10) == b"llama " + changed
    packed = opened.unary_unary(INFER)(LLAMA + rest, timeout=10, compression=grpc.Compression.Gzip)
    assert packed == b"llama " + changed


@BODIES
def test_a_stream_that_waits_for_answers(
    body: str, upstream: str, processor: Process, gateway: Start, channel: Callable[[Gateway], grpc.Channel]
) -> None:
    """The renderer has gRPC streamed whatever else is: a stream that is buffered would never end."""
    snapshot = Snapshot((Policy("p", models=("llama",), versions=(Version("v1", 1, (upstream,)),)),))

    stream = channel(gateway(snapshot, processor(snapshot).address, body=body)).stream_stream(STREAM)
    answers: list[bytes] = []
    going: SimpleQueue[bytes | None] = SimpleQueue()
    call = stream(iter(going.get, None), timeout=15)
    for n in range(5):
        going.put(LLAMA + bytes([0x10, n]))
        answers.append(next(call))
    going.put(None)
    assert list(call) == []
    assert answers == [b"llama " + LLAMA + bytes([0x10, n]) for n in range(5)]
