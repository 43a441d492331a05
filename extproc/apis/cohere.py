"""Cohere's API, v1 and v2.

The model is in the JSON body. Source: Cohere's API reference.
"""

from __future__ import annotations

import msgspec

from extproc.apis.answer_shape import AnswerShape
from extproc.apis.error_shape import MESSAGE, ErrorShape
from extproc.apis.input_only import COHERE_USAGE, OPENAI_USAGE
from extproc.apis.openai import FORM
from extproc.apis.row import Row
from extproc.bodies.json_reader import JsonReader

_CHAT = JsonReader(prompt=["/messages", "/documents"], limit=["/max_tokens"])
_CHAT_V1 = JsonReader(prompt=["/preamble", "/chat_history", "/documents", "/message"], limit=["/max_tokens"])
_GENERATE = JsonReader(prompt=["/prompt"], limit=["/max_tokens"])
_EMBED = JsonReader(stream="", prompt=["/texts", "/inputs", "/images"])
_RERANK = JsonReader(stream="", prompt=["/query", "/documents"])
_CLASSIFY = JsonReader(stream="", prompt=["/inputs", "/examples"])
_TOKENIZE = JsonReader(stream="", prompt=["/text"])
_DETOKENIZE = JsonReader(stream="", prompt=["/tokens"])

_ALSO_VLLM = "vLLM has it as well, made after this one"

ROWS = (
    Row(path="/v2/chat", api="cohere", operation="chat", reader=_CHAT),
    Row(path="/v2/embed", api="cohere", operation="embed", reader=_EMBED, note=_ALSO_VLLM),
    Row(path="/v2/rerank", api="cohere", operation="rerank", reader=_RERANK, note=_ALSO_VLLM),
    Row(path="/v3/rerank", api="cohere", operation="rerank", reader=_RERANK, note="OpenVINO Model Server's"),
    Row(path="/v2/audio/transcriptions", api="cohere", operation="audio.transcriptions", reader=FORM),
    Row(path="/v1/chat", api="cohere", operation="chat", reader=_CHAT_V1),
    Row(path="/v1/generate", api="cohere", operation="generate", reader=_GENERATE),
    Row(path="/v1/embed", api="cohere", operation="embed", reader=_EMBED),
    Row(path="/v1/classify", api="cohere", operation="classify", reader=_CLASSIFY),
    Row(path="/v1/tokenize", api="cohere", operation="tokenize", reader=_TOKENIZE),
    Row(path="/v1/detokenize", api="cohere", operation="detokenize", reader=_DETOKENIZE),
)

_ANSWER = AnswerShape(  # the kinds of v2 and of v1 are distinct
    kind=("/type", "/event_type"),
    output=(
        *("/delta/message/content/text", "/delta/message/content/thinking"),
        *("/delta/message/tool_plan", "/delta/message/tool_calls"),
        *("/text", "/tool_call_delta"),
    ),
    output_kinds=(
        *("content-start", "content-delta", "tool-plan-delta", "tool-call-start", "tool-call-delta"),
        *("text-generation", "tool-calls-chunk", ""),
    ),
    end_kinds=("message-end", "stream-end"),
    ends=("/is_finished",),
    errors=("/error", "/delta/error"),
    failures=(
        "/object=error",
        *(f"{at}/finish_reason=ERROR|ERROR_TOXIC|ERROR_LIMIT|TIMEOUT" for at in ("", "/delta", "/response")),
    ),
    usage=COHERE_USAGE,
)
# vLLM has some of the paths of embed and rerank, and OpenAI's usage.
_INPUT_ANSWER = msgspec.structs.replace(_ANSWER, usage=(*COHERE_USAGE, *OPENAI_USAGE))
ANSWERS = {
    **dict.fromkeys(("chat", "generate"), _ANSWER),
    **dict.fromkeys(("embed", "rerank", "classify"), _INPUT_ANSWER),
}

ERRORS = {"": ErrorShape(document={"message": MESSAGE})}
