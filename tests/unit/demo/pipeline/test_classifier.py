"""The classifier, asked by gRPC."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from extproc._pb import oip_pb2 as oip
from extproc.demo.pipeline.classifier import CLASSES, INFER, Classifier
from extproc.demo.pipeline.traffic import _MEASURES


def infer(server: Classifier, model: str, *measures: float) -> list[float]:
    async def main() -> list[float]:
        async with server.running(), grpc.aio.insecure_channel(server.endpoint) as channel:
            call = channel.unary_unary(
                INFER, oip.ModelInferRequest.SerializeToString, oip.ModelInferResponse.FromString
            )
            asked = oip.ModelInferRequest(model_name=model, inputs=[{"name": "input-0", "shape": [1, 4]}])
            asked.inputs[0].contents.fp32_contents.extend(measures)
            answer = await call(asked, metadata=[("x-model-name", model), ("x-demo-request", "7")])
            assert (answer.model_name, answer.outputs[0].datatype) == (model, "FP32")
            return list(answer.outputs[0].contents.fp32_contents)

    return asyncio.run(main())


@pytest.mark.parametrize("label", CLASSES)
def test_each_class_is_found(label: str) -> None:
    server = Classifier("iris", 0.0, 1)
    scores = infer(server, "iris", *_MEASURES[label])
    assert CLASSES[scores.index(max(scores))] == label
    (one,) = server.arrivals
    assert (one.request_id, dict(one.routing)) == ("7", {"x-model-name": ("iris",)})


def test_another_model_is_not_found() -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        infer(Classifier("iris", 0.0, 1), "rose", 1.0)
    assert error.value.code() is grpc.StatusCode.NOT_FOUND
