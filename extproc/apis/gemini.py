"""The Gemini API.

The path tells model and method, so the body is never needed. Source: the Gemini API's REST reference, "models" and
"OpenAI compatibility".
"""

from __future__ import annotations

from extproc.apis import openai
from extproc.apis.answer_shape import AnswerShape, Usage
from extproc.apis.error_shape import KIND, MESSAGE, REASON, STATUS, ErrorShape
from extproc.apis.openai import BODIES, operation
from extproc.apis.row import Row

METHODS = ("generateContent", "streamGenerateContent", "countTokens", "embedContent", "batchEmbedContents")
_COMPATIBLE = ("chat/completions", "embeddings", "images/generations")

ROWS = (
    *(
        Row(
            path=f"/{version}/models/{{model}}:{method}",
            api="gemini",
            operation=method,
            stream=method.startswith("stream"),
        )
        for version in ("v1beta", "v1", "v1alpha")
        for method in METHODS
    ),
    *(
        Row(
            path=f"/v1beta/{kind}/{{model}}:{method}",
            api="gemini",
            operation=method,
            stream=method.startswith("stream"),
        )
        for kind, methods in (
            ("models", ("predict", "predictLongRunning", "batchGenerateContent", "asyncBatchEmbedContent")),
            ("tunedModels", ("generateContent", "streamGenerateContent")),
        )
        for method in methods
    ),
    *(
        Row(path=f"/v1beta/openai/{path}", api="gemini", operation=operation(path), reader=BODIES[path])
        for path in _COMPATIBLE
    ),
)

USAGE = Usage(
    ("/usageMetadata",),
    ("promptTokenCount", "toolUsePromptTokenCount"),
    ("candidatesTokenCount", "thoughtsTokenCount"),
    ("cachedContentTokenCount",),
)
_PARTS = (
    *("text", "functionCall", "inlineData", "executableCode", "codeExecutionResult"),
    "thoughtSignature",  # of thoughts without a summary nothing else is sent
)
CONTENT_ANSWER = AnswerShape(
    output=tuple(f"/candidates/*/content/parts/*/{name}" for name in _PARTS), has_end_mark=False, usage=(USAGE,)
)
CONTENT_ANSWERS = {
    "generateContent": CONTENT_ANSWER,
    "streamGenerateContent": CONTENT_ANSWER,
    "embedContent": AnswerShape(usage=(USAGE,)),
}
"""Also of Vertex AI."""
ANSWERS = {**CONTENT_ANSWERS, **{operation(path): openai.ANSWERS[operation(path)] for path in _COMPATIBLE}}

ERROR = ErrorShape(  # google/rpc/status.proto and error_details.proto, as JSON
    document={
        "error": {
            "code": STATUS,
            "message": MESSAGE,
            "status": KIND,
            "details": [
                {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": REASON, "domain": "ai.istio.io"}
            ],
        }
    },
    kinds={
        400: "INVALID_ARGUMENT",
        404: "NOT_FOUND",
        408: "DEADLINE_EXCEEDED",
        429: "RESOURCE_EXHAUSTED",
        500: "INTERNAL",
        502: "UNAVAILABLE",
        503: "UNAVAILABLE",
        504: "DEADLINE_EXCEEDED",
    },
)
ERRORS = {"": ERROR, **{operation(path): openai.ERROR for path in _COMPATIBLE}}
