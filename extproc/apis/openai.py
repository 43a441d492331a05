"""The OpenAI API, as vLLM, SGLang, TGI, NIM and hosted services speak it.

The model is in the body: JSON, or a form with files. OpenVINO Model Server has the same below ``/v3``. Source: OpenAI's
published OpenAPI description; OpenVINO Model Server's documentation, "GenAI Endpoints".
"""

from __future__ import annotations

from extproc.apis.row import Row
from extproc.bodies.json_reader import JsonReader
from extproc.bodies.multipart import MultipartReader

LIMITS = ("/max_completion_tokens", "/max_tokens")
CHAT = JsonReader(prompt=["/messages"], limit=LIMITS)
COMPLETION = JsonReader(prompt=["/prompt"], limit=LIMITS)
RESPONSE = JsonReader(prompt=["/input", "/instructions"], limit=["/max_output_tokens"])
EMBEDDING = JsonReader(stream="", prompt=["/input"])
IMAGE = JsonReader(prompt=["/prompt"])
SPEECH = JsonReader(stream="/stream_format", streaming="sse", prompt=["/input"])
SESSION = JsonReader(stream="", prompt=["/instructions"], limit=["/max_response_output_tokens"])
FORM = MultipartReader()

_STATE = "no model is named: what is kept serves responses of any"
_NO_DEFAULT = "a request that leaves the model to the server is `no_model`"

BODIES = {
    "chat/completions": CHAT,
    "completions": COMPLETION,
    "responses": RESPONSE,
    "embeddings": EMBEDDING,
    "images/generations": IMAGE,
    "audio/speech": SPEECH,
}
"""What comes after the version in a path, and its reader: Azure and others have the same under paths of their own."""

FORMS = ("images/edits", "images/variations", "audio/transcriptions", "audio/translations")
"""Those whose bodies are forms."""


def operation(path: str) -> str:
    """The operation's name, as OpenAI's clients call it: ``chat.completions``."""
    return path.replace("/", ".")


ROWS = (
    *(Row(path=f"/v1/{path}", api="openai", operation=operation(path), reader=BODIES[path]) for path in BODIES),
    *(Row(path=f"/v1/{path}", api="openai", operation=operation(path), reader=FORM) for path in FORMS),
    Row(path="/v1/responses/compact", api="openai", operation="responses.compact", reader=RESPONSE),
    Row(path="/v1/responses/input_tokens", api="openai", operation="responses.input_tokens", reader=RESPONSE),
    Row(path="/v1/moderations", api="openai", operation="moderations", reader=EMBEDDING, note=_NO_DEFAULT),
    *(Row(path=f"/v3/{path}", api="openai", operation=operation(path), reader=BODIES[path]) for path in BODIES),
    *(Row(path=f"/v3/{path}", api="openai", operation=operation(path), reader=FORM) for path in FORMS),
    Row(path="/v1/conversations", api="openai", operation="conversations", note=_STATE),
    Row(path="/v1/conversations/{*}/items", api="openai", operation="conversations.items", note=_STATE),
    Row(path="/v1/batches", api="openai", operation="batches", note="the models are in the file that it names"),
    Row(
        method="GET",
        path="/v1/realtime",
        api="openai",
        operation="realtime",
        query="model",
        stream=True,
        note="a WebSocket; a transcription names its model later",
    ),
    Row(
        path="/v1/realtime/calls",
        api="openai",
        operation="realtime.calls",
        query="model",
        stream=True,
        note="WebRTC; with a session's key the model is the session's",
    ),
    Row(path="/v1/realtime/sessions", api="openai", operation="realtime.sessions", reader=SESSION),
)
