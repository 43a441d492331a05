"""Anthropic's Messages API, which vLLM, SGLang and Ollama speak too.

The model is in the JSON body. Source: Anthropic's API reference, "Messages" and "Count Message tokens".
"""

from __future__ import annotations

from extproc.apis.answer_shape import AnswerShape, Usage
from extproc.apis.error_shape import KIND, MESSAGE, ErrorShape
from extproc.apis.row import Row
from extproc.bodies.json_reader import JsonReader

MESSAGES = JsonReader(prompt=["/tools", "/system", "/messages"], limit=["/max_tokens"])
_COMPLETE = JsonReader(prompt=["/prompt"], limit=["/max_tokens_to_sample"])

ROWS = (
    Row(path="/v1/messages", api="anthropic", operation="messages", reader=MESSAGES),
    Row(path="/v1/messages/count_tokens", api="anthropic", operation="messages.count_tokens", reader=MESSAGES),
    *(
        Row(
            method=method,
            path=f"/v1/messages/batches{path}",
            api="anthropic",
            operation=f"messages.batches{call}",
            stateful=True,
            note="each of its requests names a model of its own" if method == "POST" and not path else "",
        )
        for method, path, call in (
            ("POST", "", ""),
            ("GET", "", ".list"),
            ("GET", "/{*}", ".retrieve"),
            ("DELETE", "/{*}", ".delete"),
            ("POST", "/{*}/cancel", ".cancel"),
            ("GET", "/{*}/results", ".results"),
        )
    ),
    Row(path="/v1/complete", api="anthropic", operation="complete", reader=_COMPLETE),
)

_CACHED = "cache_read_input_tokens"
USAGE = (
    Usage(("/usage", "/message/usage"), ("input_tokens", _CACHED, "cache_creation_input_tokens"), (), (_CACHED,)),
    Usage(("/usage",), (), ("output_tokens",)),  # that of message_start is only the count so far
)
MESSAGE_ANSWER = AnswerShape(
    kind=("/type",),
    output=(
        *("/delta/text", "/delta/thinking", "/delta/partial_json", "/delta/signature", "/delta/citation"),
        *("/content_block/text", "/content_block/thinking"),
        *("/content_block/data", "/content_block/name", "/content_block/content"),  # redacted thinking, calls, results
    ),
    output_kinds=("content_block_delta", "content_block_start"),
    end_kinds=("message_stop",),
    finishes=("/delta/stop_reason",),
    usage=USAGE,
)
ANSWERS = {
    "messages": MESSAGE_ANSWER,
    "complete": AnswerShape(output=("/completion",), ends=("/stop_reason",)),
}

_ERROR = ErrorShape(
    document={"type": "error", "error": {"type": KIND, "message": MESSAGE}},
    kinds={
        400: "invalid_request_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        500: "api_error",
        503: "overloaded_error",
        504: "timeout_error",
    },
)
ERRORS = {"": _ERROR}
