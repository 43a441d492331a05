"""gRPC through the real Envoy: routed by the model in the first message, over HTTP/2, statuses kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue
from typing import Any

import grpc
import pytest

from extproc.exchange.explain import explain
from extproc.policy.snapshot import HeaderMatch, Policy, Snapshot, Sticky, Version
from tests.waiting import until

from .conftest import Gateway, ModelServer, Processor
from .test_accounts import counted, requests

pytestmark = pytest.mark.envoy

Servers = Callable[..., list[ModelServer]]
Start = Callable[..., Gateway]
Process = Callable[..., Processor]

SERVICE = "/inference.GRPCInferenceService/"
BODIES = pytest.mark.parametrize("body", ["streamed", "buffered", "native"])


def request(model: str, rest: bytes = b"") -> bytes:
    """A ModelInferRequest: field 1 is the model's name; ``rest`` stands for its tensors (field 7)."""
    name = model.encode()
    tensors = b"\x3a" + varint(len(rest)) + rest if rest else b""
    return b"\x0a" + varint(len(name)) + name + tensors


def varint(number: int) -> bytes:
    head = bytes([number & 0x7F])
    return head if number < 128 else bytes([head[0] | 0x80]) + varint(number >> 7)


class Inference(grpc.GenericRpcHandler):  # type: ignore[misc]
    """A gRPC model server that knows no schema: answers carry its name and what it was asked."""

    def __init__(self, name: str) -> None:
        self.name = name.encode()
        self.metadata: list[dict[str, str | bytes]] = []
        self.remaining: list[float] = []

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        if details.method == SERVICE + "ModelInfer":
            return grpc.unary_unary_rpc_method_handler(self._infer)
        if details.method == SERVICE + "ModelStreamInfer":
            return grpc.stream_stream_rpc_method_handler(self._stream)
        return None

    def _note(self, context: grpc.ServicerContext) -> None:
        self.metadata.append({item.key: item.value for item in context.invocation_metadata()})
        self.remaining.append(context.time_remaining() or 0.0)

    def _infer(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        self._note(context)
        context.set_trailing_metadata((("x-load", "7"),))
        if b"fail" in message:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no room for más")
        return self.name + b":" + message

    def _stream(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        self._note(context)
        for message in messages:
            yield self.name + b":" + message


@pytest.fixture
def upstream() -> Iterator[Callable[[str], tuple[Inference, str]]]:
    """gRPC model servers by their names, with their addresses."""
    with ExitStack() as stack:

        def start(name: str) -> tuple[Inference, str]:
            handler = Inference(name)
            server = grpc.server(
                stack.enter_context(ThreadPoolExecutor(8)),
                (handler,),
                options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)],
            )
            port = server.add_insecure_port("127.0.0.1:0")
            server.start()
            stack.callback(lambda: server.stop(0).wait())
            return handler, f"127.0.0.1:{port}"

        yield start


Upstream = Callable[[str], tuple[Inference, str]]


class Client:
    """Calls through the gateway."""

    def __init__(self, gateway: Gateway) -> None:
        options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.insecure_channel(gateway.envoy.listen_address, options)
        gateway.opened.callback(self._channel.close)
        self.infer = self._channel.unary_unary(SERVICE + "ModelInfer")
        self.stream = self._channel.stream_stream(SERVICE + "ModelStreamInfer")


def canary(v1: str, v2: str) -> Policy:
    beta = (HeaderMatch((("x-beta", b"true"),)),)
    return Policy("chat", models=("llama",), versions=(Version("v1", 1, (v1,)), Version("v2", 0, (v2,), match=beta)))


@BODIES
def test_the_model_in_the_message_decides(body: str, upstream: Upstream, processor: Process, gateway: Start) -> None:
    (one, first), (two, second), (other, third) = upstream("v1"), upstream("v2"), upstream("other")
    snapshot = Snapshot(
        (canary(first, second), Policy("rest", models=("iris",), versions=(Version("1", 1, (third,)),)))
    )
    envoy = gateway(snapshot, processor(snapshot).address, body=body)
    client = Client(envoy)
    large = request("llama", b"\0" * (2 << 20))
    assert client.infer(request("iris"), timeout=10) == b"other:" + request("iris")
    assert client.infer(large, timeout=10) == b"v1:" + large
    assert client.infer(request("llama"), metadata=[("x-beta", "true")], timeout=10) == b"v2:" + request("llama")
    assert (two.metadata[0]["x-model-name"], two.metadata[0]["x-model-version"]) == ("llama", "v2")
    assert 5 < two.remaining[0] < 15  # grpc-timeout arrives
    assert len(other.metadata) == len(one.metadata) == 1
    assert [envoy.logged(n)["cluster"] for n in range(3)] == ["rest/1#grpc", "chat/v1#grpc", "chat/v2#grpc"]
    assert envoy.logged(2)["protocol"] == "HTTP/2"


@BODIES
def test_a_stream_is_decided_by_its_first_message_and_flows_both_ways(
    body: str, upstream: Upstream, processor: Process, gateway: Start
) -> None:
    """Each message waits for the answer to the one before: nothing holds the stream back for its end."""
    (_, first), (_, second) = upstream("v1"), upstream("v2")
    snapshot = Snapshot((canary(first, second),))
    envoy = gateway(snapshot, processor(snapshot).address, body=body)
    going: SimpleQueue[bytes | None] = SimpleQueue()
    call = Client(envoy).stream(iter(going.get, None), metadata=[("x-beta", "true")], timeout=20)
    for n in range(20):
        message = request("llama", b"%d" % n)
        going.put(message)
        assert next(call) == b"v2:" + message
    going.put(None)
    assert list(call) == []
    assert call.code() is grpc.StatusCode.OK


def test_status_and_trailers_come_back(upstream: Upstream, processor: Process, gateway: Start) -> None:
    (_, first), (_, second) = upstream("v1"), upstream("v2")
    snapshot = Snapshot((canary(first, second),))
    client = Client(gateway(snapshot, processor(snapshot).address))
    with pytest.raises(grpc.RpcError) as caught:
        client.infer(request("llama", b"fail"), timeout=10)
    call: Any = caught.value
    assert (call.code(), call.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "no room for más")
    assert dict(call.trailing_metadata())["x-load"] == "7"
    _, call = client.infer.with_call(request("llama"), timeout=10)
    assert dict(call.trailing_metadata())["x-load"] == "7"
    assert dict(call.initial_metadata())["x-model-version"] == "v1"


def test_errors_of_the_gateways_own_are_grpc(processor: Process, gateway: Start) -> None:
    snapshot = Snapshot((canary("127.0.0.1:1", "127.0.0.1:1"),))
    client = Client(gateway(snapshot, processor(snapshot).address))
    with pytest.raises(grpc.RpcError) as caught:
        client.infer(request("llama"), timeout=10)
    call: Any = caught.value
    assert call.code() is grpc.StatusCode.UNAVAILABLE
    assert "No model server" in call.details()


def test_a_mirror_gets_grpc_too(upstream: Upstream, processor: Process, gateway: Start) -> None:
    (_, first), (copy, second) = upstream("v1"), upstream("copy")
    versions = (Version("v1", 1, (first,)), Version("copy", 0, (second,), mirror=100))
    snapshot = Snapshot((Policy("p", models=("llama",), versions=versions),))
    client = Client(gateway(snapshot, processor(snapshot).address))
    assert client.infer(request("llama"), timeout=10) == b"v1:" + request("llama")
    until(lambda: copy.metadata)
    assert copy.metadata[0]["x-model-version"] == "v1"


def test_ports_by_protocol_and_one_assignment_on_both(
    upstream: Upstream, servers: Servers, processor: Process, gateway: Start
) -> None:
    """As Triton has it: REST on one port, gRPC on another. A user is on one version whichever he speaks."""
    names, rest = ("v1", "v2"), servers("v1", "v2")
    rpc = [upstream(name)[1] for name in names]
    versions = tuple(
        Version(name, 1, (server.address,), grpc_endpoints=(address,))
        for name, server, address in zip(names, rest, rpc, strict=True)
    )
    chat = Policy("chat", models=("llama",), versions=versions, sticky=Sticky(header="x-user-id"))
    snapshot = Snapshot((chat,))
    process = processor(snapshot)
    envoy = gateway(snapshot, process.address)
    client = Client(envoy)
    users = [f"user-{n}" for n in range(12)]
    by_rest = [envoy.post({"inputs": []}, "/v2/models/llama/infer", x_user_id=user).text for user in users]
    by_rpc = [client.infer(request("llama"), metadata=[("x-user-id", user)], timeout=10) for user in users]
    assert [answer.partition(b":")[0].decode() for answer in by_rpc] == by_rest
    assert {*by_rest} == {"v1", "v2"}
    until(lambda: counted(process) == 24)
    assert {version: count for (_, version, _), count in requests(process).items()} == {
        version: 2 * count for version, count in Counter(by_rest).items()
    }
    fields = [("content-type", "application/grpc"), ("x-user-id", users[0])]
    body = b"\0" + len(request("llama")).to_bytes(4, "big") + request("llama")
    told = explain(snapshot, "POST", SERVICE + "ModelInfer", fields, body)
    assert told["endpoints"] == [rpc[int(by_rest[0] == "v2")]]


def test_json_for_the_same_policy_goes_by_http1(
    upstream: Upstream, servers: Servers, processor: Process, gateway: Start
) -> None:
    _, grpc_address = upstream("grpc")
    (json_server,) = servers("json")
    snapshot = Snapshot(
        (
            Policy("rpc", models=("llama",), versions=(Version("v1", 1, (grpc_address,)),)),
            Policy("json", models=("iris",), versions=(Version("v1", 1, (json_server.address,)),)),
        )
    )
    envoy = gateway(snapshot, processor(snapshot).address)
    assert Client(envoy).infer(request("llama"), timeout=10) == b"grpc:" + request("llama")
    assert envoy.post({"inputs": []}, "/v2/models/iris/infer").text == "json"
    assert [envoy.logged(n)["cluster"] for n in range(2)] == ["rpc/v1#grpc", "json/v1"]
