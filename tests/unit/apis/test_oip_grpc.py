"""Requests of the Open Inference Protocol over gRPC, after its specification and Triton's."""

from __future__ import annotations

import pytest

from extproc import apis
from extproc.headers import Headers
from extproc.request import Asked
from tests.unit.apis.asking import asked, called, field

INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
TENSOR = field(5, field(1, "input__0") + field(2, "FP32") + field(3, b"\x01\x04")) + field(7, b"\0\0\x80?" * 4)


@pytest.mark.parametrize(
    ("path", "message", "expected"),
    [
        (INFER, field(1, "iris") + TENSOR, Asked("oip", "infer", "iris")),
        (INFER, field(1, "iris") + field(2, "3") + field(3, "id-1") + TENSOR, Asked("oip", "infer", "iris", "3")),
        (INFER, TENSOR + field(1, "org/iris"), Asked("oip", "infer", "org/iris")),
        (STREAM, field(1, "llm") + TENSOR, Asked("oip", "stream_infer", "llm", stream=True)),
    ],
)
def test_asks_for(path: str, message: bytes, expected: Asked) -> None:
    assert called(path, message) == expected


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
    assert called(path, message) == reason


def test_json_is_no_grpc() -> None:
    assert asked("POST " + INFER, {"model_name": "iris"}, {"content-type": "application/json"}) == "content_type"


def test_only_the_stream_need_never_end() -> None:
    found = [apis.classify("POST", path, Headers()) for path in (INFER, STREAM)]
    assert [operation.uploads for operation in found if operation is not None] == [False, True]
