"""The Open Inference Protocol v2 over gRPC, as KServe, Triton, Seldon and OpenVINO Model Server speak it.

The first message tells model and version. Source: the protocol's gRPC specification; Triton's for streams.
"""

from __future__ import annotations

from extproc.apis.answer_shape import GrpcAnswerShape
from extproc.apis.error_shape import TEXT
from extproc.apis.row import Row
from extproc.bodies.grpc_message import GrpcReader

_SERVICE = "/inference.GRPCInferenceService/"
INFER = GrpcReader(model="1", version="2")

ROWS = (
    Row(path=_SERVICE + "ModelInfer", api="oip", operation="infer", reader=INFER, note="gRPC"),
    Row(
        path=_SERVICE + "ModelStreamInfer",
        api="oip",
        operation="stream_infer",
        reader=INFER,
        stream=True,
        uploads=True,
        note="gRPC, Triton; the first message decides for all that follow, and alone is given another model's name",
    ),
)

ANSWERS = {"stream_infer": GrpcAnswerShape(output=("2.5", "2.6"), errors=("1",))}

ERRORS = {"": TEXT}
