"""Ollama's own API.

The model is in the JSON body, as ``name:tag``, which we keep as one name; answers stream unless the body says no.
Source: Ollama's API documentation; of `systemone` its clients.
"""

from __future__ import annotations

from extproc.apis.answer_shape import AnswerShape, Usage
from extproc.apis.error_shape import TEXT
from extproc.apis.row import Row
from extproc.bodies.json_reader import JsonReader

_LIMIT = ("/options/num_predict",)
_GENERATE = JsonReader(streams=True, prompt=["/system", "/prompt", "/suffix", "/images"], limit=_LIMIT)
_CHAT = JsonReader(streams=True, prompt=["/messages"], limit=_LIMIT)
_EMBED = JsonReader(stream="", prompt=["/input"])
_EMBEDDINGS = JsonReader(stream="", prompt=["/prompt"])
_SYSTEMONE = JsonReader(stream="", prompt=["/state"])
_SHOW = JsonReader(stream="")

ROWS = (
    Row(path="/api/generate", api="ollama", operation="generate", reader=_GENERATE),
    Row(path="/api/chat", api="ollama", operation="chat", reader=_CHAT),
    Row(path="/api/embed", api="ollama", operation="embed", reader=_EMBED),
    Row(path="/api/embeddings", api="ollama", operation="embeddings", reader=_EMBEDDINGS),
    Row(path="/v1/systemone", api="ollama", operation="systemone", reader=_SYSTEMONE),
    Row(path="/api/show", api="ollama", operation="show", reader=_SHOW, note="tells of a model, and asks it nothing"),
)

_USAGE = Usage(("",), ("prompt_eval_count",), ("eval_count",))
ANSWERS = {
    "chat": AnswerShape(
        output=("/message/content", "/message/thinking", "/message/tool_calls"), ends=("/done",), usage=(_USAGE,)
    ),
    "generate": AnswerShape(output=("/response", "/thinking"), ends=("/done",), usage=(_USAGE,)),
    "embed": AnswerShape(usage=(_USAGE,)),
    "systemone": AnswerShape(usage=(Usage(("/usage",), ("input_tokens",), ("output_tokens",)),)),
}

ERRORS = {"": TEXT}
