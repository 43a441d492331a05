"""The Gemini API.

The path tells model and method, so the body is not needed, but for interactions. Source: the Gemini API's REST
reference, "models" and "OpenAI compatibility"; of interactions Google's Gen AI clients.
"""

from __future__ import annotations

from extproc.apis import openai
from extproc.apis.answer_shape import AnswerShape, Usage
from extproc.apis.error_shape import KIND, MESSAGE, REASON, STATUS, ErrorShape
from extproc.apis.openai import BODIES, operation
from extproc.apis.row import Row
from extproc.bodies.json_reader import JsonReader

METHODS = ("generateContent", "streamGenerateContent", "countTokens", "embedContent", "batchEmbedContents")
_COMPATIBLE = ("chat/completions", "embeddings", "images/generations")
_VERSIONS = ("v1beta", "v1", "v1alpha")
_INTERACTION = JsonReader(prompt=["/system_instruction", "/input"])
_ON_INTERACTIONS = (
    ("GET", "interactions/{*}", "interactions.get"),
    ("DELETE", "interactions/{*}", "interactions.delete"),
    ("POST", "interactions/{*}/cancel", "interactions.cancel"),
)
"""What the server keeps is asked for by its id."""

ROWS = (
    *(
        Row(
            path=f"/{version}/models/{{model}}:{method}",
            api="gemini",
            operation=method,
            stream=method.startswith("stream"),
        )
        for version in _VERSIONS
        for method in METHODS
    ),
    *(
        Row(
            path=f"/{version}/interactions",
            api="gemini",
            operation="interactions",
            reader=_INTERACTION,
            stateful=True,
            note="a request that names an agent is `no_model`",
        )
        for version in _VERSIONS
    ),
    *(
        Row(method=method, path=f"/{version}/{path}", api="gemini", operation=name, stateful=True)
        for version in _VERSIONS
        for method, path, name in _ON_INTERACTIONS
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
_INTERACTION_ANSWER = AnswerShape(  # each kind as it is called now, and as before steps (Api-Revision)
    kind=("/event_type",),
    output=("/delta",),
    output_kinds=("step.delta", "content.delta"),
    end_kinds=("interaction.completed", "interaction.complete"),
    failures=("/object=error", "/status=failed", "/interaction/status=failed"),
    usage=(
        Usage(
            ("/usage", "/interaction/usage"),
            ("total_input_tokens", "total_tool_use_tokens"),
            ("total_output_tokens", "total_thought_tokens"),
            ("total_cached_tokens",),
        ),
    ),
)
ANSWERS = {
    **CONTENT_ANSWERS,
    "interactions": _INTERACTION_ANSWER,
    **{operation(path): openai.ANSWERS[operation(path)] for path in _COMPATIBLE},
}

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
