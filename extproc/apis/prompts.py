"""Where prompts stand in the bodies of APIs whose path names the model, so that nothing else of the body is needed."""

from __future__ import annotations

from extproc.bodies.json_reader import JsonReader
from extproc.bodies.request import Operation
from extproc.errors import Rejected, Unreadable
from extproc.headers import Headers

_CONTENTS = JsonReader(model="", stream="", prompt=["/systemInstruction", "/contents"])
_MESSAGES = JsonReader(model="", stream="", prompt=["/system", "/messages"])
_PROMPT = JsonReader(model="", stream="", prompt=["/prompt"])
_INVOKED = JsonReader(model="", stream="", prompt=["/system", "/messages", "/prompt", "/inputText"])

_READERS = {
    ("gemini", "generateContent"): _CONTENTS,
    ("gemini", "streamGenerateContent"): _CONTENTS,
    ("vertex", "generateContent"): _CONTENTS,
    ("vertex", "streamGenerateContent"): _CONTENTS,
    ("vertex", "chat.completions"): _MESSAGES,
    ("bedrock", "converse"): _MESSAGES,
    ("bedrock", "converse-stream"): _MESSAGES,
    ("bedrock", "invoke"): _INVOKED,
    ("bedrock", "invoke-with-response-stream"): _INVOKED,
    ("azure", "chat.completions"): _MESSAGES,
    ("azure", "completions"): _PROMPT,
    ("triton", "generate"): JsonReader(model="", stream="", prompt=["/text_input"]),
    ("triton", "generate_stream"): JsonReader(model="", stream="", prompt=["/text_input"]),
}
"""By API and operation."""


def has_prompt(operation: Operation) -> bool:
    """Whether the body of a request whose head names the model holds a prompt."""
    return operation.reader is None and (operation.api, operation.name) in _READERS


def prompt_text(operation: Operation, body: bytes, limit: int) -> bytes:
    """The first ``limit`` bytes of the prompt's parts in ``body``, one behind the other; empty where there is none."""
    if not has_prompt(operation):
        return b""
    try:
        return _READERS[operation.api, operation.name].read(body, _NO_HEADERS).prompt_text(limit)
    except (Unreadable, Rejected):
        return b""


_NO_HEADERS = Headers()
