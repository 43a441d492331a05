"""TorchServe over gRPC.

Source: pytorch/serve, frontend/server/src/main/resources/proto/inference.proto.
"""

from __future__ import annotations

from extproc.apis.answer_shape import GrpcAnswerShape
from extproc.apis.row import Row
from extproc.bodies.grpc_message import GrpcReader

_SERVICE = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/"
PREDICT = GrpcReader(model="1", version="2")

ROWS = (
    Row(path=_SERVICE + "Predictions", api="torchserve", operation="predictions", reader=PREDICT, note="gRPC"),
    Row(
        path=_SERVICE + "StreamPredictions",
        api="torchserve",
        operation="stream_predictions",
        reader=PREDICT,
        stream=True,
        note="gRPC",
    ),
    Row(
        path=_SERVICE + "StreamPredictions2",
        api="torchserve",
        operation="stream_predictions",
        reader=PREDICT,
        stream=True,
        uploads=True,
        note="gRPC; the first message decides for all that follow, and alone is given another model's name",
    ),
)

ANSWERS = {"stream_predictions": GrpcAnswerShape(output=("1",))}
