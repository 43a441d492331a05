"""vLLM's engine over gRPC: one server, one model, which no request names.

Source: vLLM's vllm_engine.proto.
"""

from __future__ import annotations

from extproc.apis.answer_shape import GrpcAnswerShape
from extproc.apis.row import Row
from extproc.bodies.grpc_message import GrpcReader

_SERVICE = "/vllm.grpc.engine.VllmEngine/"
GENERATE = GrpcReader(stream="5", limit="4.8", prompt=("2", "3"))
EMBED = GrpcReader(prompt=("2",))

ROWS = (
    Row(path=_SERVICE + "Generate", api="vllm", operation="generate", reader=GENERATE, unnamed=True, note="gRPC"),
    Row(path=_SERVICE + "Embed", api="vllm", operation="embed", reader=EMBED, unnamed=True, note="gRPC"),
)

ANSWERS = {
    "generate": GrpcAnswerShape(
        output=("1.1",),
        ends=("2",),
        errors=("2.2=abort|error",),
        input_tokens=("1.2", "2.3"),
        output_tokens=("1.3", "2.4"),
        cached_tokens=("1.4", "2.5"),
    ),
    "embed": GrpcAnswerShape(input_tokens=("2",)),
}
