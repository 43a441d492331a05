"""Requests of the Open Inference Protocol over gRPC, after its specification and Triton's."""

from __future__ import annotations

import pytest

from extproc import apis
from extproc.bodies.request import InferenceRequest
from extproc.envoy.actions import BodyEcho, Finish, HeadersReply, Mutation, Reject
from extproc.envoy.events import Protocol, RequestBody, RequestHeaders
from extproc.exchange.notes import Unmatched
from extproc.exchange.route import RouteStream
from extproc.headers import Headers
from tests.unit.apis.requests import field, interpret, interpret_call
from tests.unit.exchange.test_route import BUFFERED, DUPLEX, ROUTED, SNAPSHOT, STREAMED, head, play

INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
TENSOR = field(5, field(1, "input__0") + field(2, "FP32") + field(3, b"\x01\x04")) + field(7, b"\0\0\x80?" * 4)


@pytest.mark.parametrize(
    ("path", "message", "expected"),
    [
        (INFER, field(1, "iris") + TENSOR, InferenceRequest("oip", "infer", "iris")),
        (
            INFER,
            field(1, "iris") + field(2, "3") + field(3, "id-1") + TENSOR,
            InferenceRequest("oip", "infer", "iris", "3"),
        ),
        (INFER, TENSOR + field(1, "org/iris"), InferenceRequest("oip", "infer", "org/iris")),
        (STREAM, field(1, "llm") + TENSOR, InferenceRequest("oip", "stream_infer", "llm", stream=True)),
    ],
)
def test_asks_for(path: str, message: bytes, expected: InferenceRequest) -> None:
    assert interpret_call(path, message) == expected


@pytest.mark.parametrize(
    ("path", "message", "reason"),
    [
        (INFER, TENSOR, "no_model"),
        (INFER, field(1, b"\xff"), "bad_model"),
        (INFER, b"\x0a\x7f", "bad_grpc"),
        ("/inference.GRPCInferenceService/ModelReady", field(1, "iris"), "no_api"),
        ("/inference.GRPCInferenceService/modelinfer", field(1, "iris"), "no_api"),
    ],
)
def test_does_not_ask_for(path: str, message: bytes, reason: str) -> None:
    assert interpret_call(path, message) == reason


def test_json_is_no_grpc() -> None:
    assert interpret("POST " + INFER, {"model_name": "iris"}, {"content-type": "application/json"}) == "content_type"


def test_only_the_stream_need_never_end() -> None:
    found = [apis.classify("POST", path, Headers()) for path in (INFER, STREAM)]
    assert [operation.uploads for operation in found if operation is not None] == [False, True]


class TestMessageAfterMessage:
    """A gRPC stream, whose client may wait for an answer before it says more."""

    PATH = "/inference.GRPCInferenceService/ModelStreamInfer"
    FIRST = b"\0\0\0\0\7\x0a\5llama"

    def head(self, protocol: Protocol) -> RequestHeaders:
        return head(self.PATH, protocol, content_type="application/grpc", x_gpu_pool="mine")

    def test_the_first_message_decides_at_once(self) -> None:
        stream = RouteStream(SNAPSHOT, b"e")
        assert stream.receive(self.head(STREAMED)) == ()
        assert stream.receive(RequestBody(self.FIRST[:8])) == ()
        reply, finish = stream.receive(RequestBody(self.FIRST[8:]))
        assert isinstance(reply, HeadersReply)
        assert reply.mutation.set == ROUTED
        assert finish == Finish()

    def test_full_duplex_the_rest_is_echoed(self) -> None:
        *_, echoed, last, finish = play(
            self.head(DUPLEX), RequestBody(self.FIRST), RequestBody(b"more"), RequestBody(b"", end_of_stream=True)
        )
        assert echoed == BodyEcho(b"more", end_of_stream=False)
        assert last == BodyEcho(b"", end_of_stream=True)
        assert finish == Finish()

    @pytest.mark.parametrize("protocol", [BUFFERED, Protocol()])
    def test_it_is_never_held_back_for_an_end_that_may_not_come(self, protocol: Protocol) -> None:
        unmatched, reply, finish = play(self.head(protocol))
        assert unmatched == Unmatched("streamed_request")
        assert reply == HeadersReply(
            Mutation(
                remove=("x-gpu-pool",), metadata=(("api", "oip"), ("operation", "stream_infer"), ("cohort", "unowned"))
            )
        )
        assert finish == Finish()

    def test_a_refusal_is_one_of_grpc(self) -> None:
        reject = play(self.head(STREAMED), RequestBody(b"\0\x7f\xff\xff\xff"))[0]
        assert isinstance(reject, Reject)
        assert (reject.status, reject.grpc) == (413, True)
