"""The OpenAI API, as vLLM, SGLang, TGI, NIM and hosted services speak it.

The model is in the body: JSON, or a form with files. OpenVINO Model Server has the same below ``/v3``, and clients
whose base URL lacks the ``/v1`` call the paths without it. Source: OpenAI's published OpenAPI description; OpenVINO
Model Server's documentation, "GenAI Endpoints".
"""

from __future__ import annotations

from extproc.apis.answer_shape import AnswerShape, Usage
from extproc.apis.error_shape import CODE, KIND, MESSAGE, ErrorShape
from extproc.apis.input_only import INPUT_ONLY
from extproc.apis.row import Row
from extproc.apis.stored_objects import stored_objects
from extproc.bodies.json_reader import JsonReader
from extproc.bodies.multipart import MultipartReader
from extproc.bodies.request import Reader

LIMITS = ("/max_completion_tokens", "/max_tokens")
CHAT = JsonReader(prompt=["/messages"], limit=LIMITS)
COMPLETION = JsonReader(prompt=["/prompt"], limit=LIMITS)
RESPONSE = JsonReader(prompt=["/instructions", "/input"], limit=["/max_output_tokens"])
EMBEDDING = JsonReader(stream="", prompt=["/input"])
IMAGE = JsonReader(prompt=["/prompt"])
SPEECH = JsonReader(stream="/stream_format", streaming="sse", prompt=["/input"])
SESSION = JsonReader(stream="", prompt=["/instructions"], limit=["/max_response_output_tokens"])
FORM = MultipartReader()

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


KEPT = frozenset(("responses",))
"""Those whose answers a server keeps, for requests by their ids."""


def operation(path: str) -> str:
    """The operation's name, as OpenAI's clients call it: ``chat.completions``."""
    return path.replace("/", ".")


_PREFIXES = ("/v1/", "/")
_READERS: dict[str, Reader] = {**BODIES, **dict.fromkeys(FORMS, FORM)}

ROWS = (
    *(
        Row(
            path=f"{prefix}{path}",
            api="openai",
            operation=operation(path),
            reader=reader,
            stateful=path in KEPT,
        )
        for prefix in (*_PREFIXES, "/v3/")
        for path, reader in _READERS.items()
    ),
    *(
        Row(path=f"{prefix}responses/{path}", api="openai", operation=f"responses.{path}", reader=RESPONSE)
        for path in ("compact", "input_tokens")
        for prefix in _PREFIXES
    ),
    *(
        Row(path=f"{prefix}moderations", api="openai", operation="moderations", reader=EMBEDDING, note=_NO_DEFAULT)
        for prefix in _PREFIXES
    ),
    *(Row(path=f"{prefix}decisions", api="openai", operation="decisions", reader=EMBEDDING) for prefix in _PREFIXES),
    *stored_objects("openai", _PREFIXES),
    Row(
        method="GET",
        path="/v1/realtime",
        api="openai",
        operation="realtime",
        query="model",
        stream=True,
        stateful=True,
        note="a WebSocket; a transcription names its model later, and to join a call (`call_id`) none is named",
    ),
    Row(
        path="/v1/realtime/calls",
        api="openai",
        operation="realtime.calls",
        query="model",
        stream=True,
        stateful=True,
        note="WebRTC; with a session's key the model is the session's",
    ),
    Row(path="/v1/realtime/sessions", api="openai", operation="realtime.sessions", reader=SESSION),
)

USAGE = Usage(("/usage",), ("prompt_tokens",), ("completion_tokens",), ("prompt_tokens_details/cached_tokens",))
RESPONSE_USAGE = Usage(
    ("/usage", "/response/usage"), ("input_tokens",), ("output_tokens",), ("input_tokens_details/cached_tokens",)
)
CHAT_USAGE = (
    USAGE,
    # Some servers have one of these names beside one of the older ones, or none of the older ones.
    Usage(("/usage",), ("input_tokens",), ("output_tokens",), in_last_events=True),
    Usage(("/usage",), cached=("prompt_cache_hit_tokens",), in_last_events=True),  # DeepSeek
    Usage(("/usage",), cached=("cached_tokens",), in_last_events=True),  # Moonshot
    Usage(("/x_groq/usage",), ("prompt_tokens",), ("completion_tokens",), in_last_events=True),
    # Moonshot: of each choice, in its last event.
    Usage(("/choices/*/usage",), ("prompt_tokens",), ("completion_tokens",), ("cached_tokens",), same_prompt=True),
)

_FINISHES = ("/choices/*/finish_reason",)
_FAILURES = ("/object=error", "/choices/*/finish_reason=abort|error")
"""``abort``: vLLM and SGLang; ``error``: OpenRouter, and vLLM where its engine fails."""
_DELTA = (
    *("content", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call", "audio"),
    *("reasoning_details", "images"),  # OpenRouter
)
CHAT_ANSWER = AnswerShape(
    output=tuple(f"/choices/*/delta/{name}" for name in _DELTA),
    finishes=_FINISHES,
    failures=_FAILURES,
    usage=CHAT_USAGE,
)
COMPLETION_ANSWER = AnswerShape(
    output=("/choices/*/text", "/choices/*/token_ids"), finishes=_FINISHES, failures=_FAILURES, usage=CHAT_USAGE
)
_RESPONSE_ANSWER = AnswerShape(
    kind=("/type",),
    output=(
        *("/delta", "/partial_image_b64"),
        *("/item/name", "/item/action", "/item/encrypted_content", "/part/text"),  # in events that open an item
    ),
    output_kinds=(
        *("response.*.delta", "response.*.partial_image", "response.output_item.added", "response.content_part.added"),
    ),
    end_kinds=("response.completed", "response.incomplete"),
    error_kinds=("response.failed", "error"),
    failures=("/object=error", "/status=failed"),
    usage=(RESPONSE_USAGE, USAGE),
)
_IMAGE_ANSWER = AnswerShape(
    kind=("/type",),
    output_kinds=("*.partial_image", "*.completed"),
    end_kinds=("*.completed",),
    usage=(RESPONSE_USAGE,),
    pieces_are_tokens=False,
)
_TRANSCRIPT_ANSWER = AnswerShape(
    kind=("/type",),
    output=("/delta", "/choices/*/delta/content"),  # OpenAI; vLLM, whose events name no kind
    output_kinds=("transcript.text.delta", ""),
    end_kinds=("transcript.text.done",),
    finishes=_FINISHES,
    failures=_FAILURES,
    usage=(RESPONSE_USAGE, USAGE),
)
_SPEECH_ANSWER = AnswerShape(
    kind=("/type",),
    output_kinds=("speech.audio.delta",),
    end_kinds=("speech.audio.done",),
    usage=(RESPONSE_USAGE,),
    pieces_are_tokens=False,
    raw_output=True,
)
ANSWERS = {
    "chat.completions": CHAT_ANSWER,
    "completions": COMPLETION_ANSWER,
    "responses": _RESPONSE_ANSWER,
    "responses.compact": _RESPONSE_ANSWER,
    "embeddings": INPUT_ONLY,
    "decisions": AnswerShape(usage=(RESPONSE_USAGE,)),
    "images.generations": _IMAGE_ANSWER,
    "images.edits": _IMAGE_ANSWER,
    "images.variations": _IMAGE_ANSWER,
    "audio.transcriptions": _TRANSCRIPT_ANSWER,
    "audio.translations": _TRANSCRIPT_ANSWER,
    "audio.speech": _SPEECH_ANSWER,
}

_INPUT_TRANSCRIPT = "conversation.item.input_audio_transcription"
_REALTIME_OBJECTS = ("/response/usage", "/usage")
SESSION_ANSWERS = {
    "realtime": AnswerShape(  # a response of OpenAI's, a transcript of OpenAI's, a transcript of vLLM's
        kind=("/type",),
        output=("/delta",),
        output_kinds=("response.*.delta", f"{_INPUT_TRANSCRIPT}.delta", "transcription.delta"),
        end_kinds=("response.done", f"{_INPUT_TRANSCRIPT}.completed", "transcription.done"),
        error_kinds=(f"{_INPUT_TRANSCRIPT}.failed",),
        errors=(),
        failures=(),
        usage=(
            Usage(_REALTIME_OBJECTS, ("input_tokens",), ("output_tokens",), ("input_token_details/cached_tokens",)),
            Usage(_REALTIME_OBJECTS, cached=("input_tokens_details/cached_tokens",)),
            USAGE,
        ),
    )
}

ERROR = ErrorShape(
    document={"error": {"message": MESSAGE, "type": KIND, "code": CODE}},
    kinds={400: "invalid_request_error", 429: "rate_limit_error", 500: "server_error"},
)
ERRORS = {"": ERROR}
