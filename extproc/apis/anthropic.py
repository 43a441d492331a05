"""Anthropic's Messages API, which vLLM, SGLang and Ollama speak too.

The model is in the JSON body. Source: Anthropic's API reference, "Messages" and "Count Message tokens".
"""

from __future__ import annotations

from extproc.apis.row import Row
from extproc.bodies.json_reader import JsonReader

MESSAGES = JsonReader(prompt=["/system", "/messages", "/tools"], limit=["/max_tokens"])
_COMPLETE = JsonReader(prompt=["/prompt"], limit=["/max_tokens_to_sample"])

ROWS = (
    Row(path="/v1/messages", api="anthropic", operation="messages", reader=MESSAGES),
    Row(path="/v1/messages/count_tokens", api="anthropic", operation="messages.count_tokens", reader=MESSAGES),
    Row(
        path="/v1/messages/batches",
        api="anthropic",
        operation="messages.batches",
        note="each of its requests names a model of its own",
    ),
    Row(path="/v1/complete", api="anthropic", operation="complete", reader=_COMPLETE),
)
