"""Vertex AI: publishers' models, and endpoints of one's own.

The path tells model and method; an endpoint's identifier stands for its model. Source: Vertex AI's REST reference,
"projects.locations.publishers.models" and "projects.locations.endpoints"; its prediction_service.proto for gRPC.
"""

from __future__ import annotations

from extproc.apis import gemini, openai
from extproc.apis.any_model import ANY_MODEL
from extproc.apis.openai import CHAT, CHAT_ANSWER
from extproc.apis.row import Row
from extproc.bodies.grpc_message import GrpcJsonReader

_PLACE = "projects/{*}/locations/{*}/"
_PUBLISHED = (
    *("generateContent", "streamGenerateContent", "countTokens", "computeTokens", "embedContent"),
    *("predict", "predictLongRunning", "rawPredict", "streamRawPredict", "serverStreamingPredict"),
)
_DEPLOYED = tuple(method for method in _PUBLISHED if method not in ("embedContent", "predictLongRunning"))
_STREAMING = frozenset(("streamGenerateContent", "streamRawPredict", "serverStreamingPredict"))


def _rows(version: str) -> tuple[Row, ...]:
    named = [
        *((f"{_PLACE}publishers/{{*}}/models", method) for method in _PUBLISHED),
        *(("publishers/{*}/models", method) for method in _PUBLISHED),
        *((f"{_PLACE}endpoints", method) for method in _DEPLOYED),
    ]
    return (
        *(
            Row(
                path=f"/{version}/{parent}/{{model}}:{method}",
                api="vertex",
                operation=method,
                stream=method in _STREAMING,
            )
            for parent, method in named
        ),
        Row(
            path=f"/{version}/{_PLACE}endpoints/openapi/chat/completions",
            api="vertex",
            operation="chat.completions",
            reader=CHAT,
        ),
        Row(
            path=f"/{version}/{_PLACE}endpoints/{{model}}/chat/completions", api="vertex", operation="chat.completions"
        ),
    )


ROWS = (
    *_rows("v1"),
    *_rows("v1beta1"),
    Row(
        path="/google.cloud.aiplatform.v1beta1.PredictionService/ChatCompletions",
        api="vertex",
        operation="chat.completions",
        reader=GrpcJsonReader("2.2", CHAT),
        note="gRPC: the message holds the request as OpenAI has it in JSON",
    ),
)

ANSWERS = {
    **gemini.CONTENT_ANSWERS,
    "chat.completions": CHAT_ANSWER,
    **dict.fromkeys(("predict", "rawPredict", "streamRawPredict", "serverStreamingPredict"), ANY_MODEL),
}
ERRORS = {"": gemini.ERROR, "chat.completions": openai.ERROR}
