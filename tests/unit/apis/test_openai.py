"""The OpenAI API's requests, after OpenAI's published description."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.bodies.request import InferenceRequest
from tests.unit.apis.requests import head_suffices, interpret, json_size

MESSAGES = [
    {"role": "system", "content": "Answer in one line."},
    {"role": "user", "content": [{"type": "text", "text": "What is on the picture?"}]},
]
CHAT = {"model": "gpt-4.1", "messages": MESSAGES, "stream": True, "max_completion_tokens": 300, "max_tokens": 9}
RESPONSE = {"model": "gpt-5", "instructions": "Be kind.", "input": "Why?", "max_output_tokens": 64, "stream": True}
SESSION = {"model": "gpt-realtime", "modalities": ["text"], "instructions": "Be brief."}


@pytest.mark.parametrize(
    ("line", "body", "expected"),
    [
        (
            "POST /v1/chat/completions",
            CHAT,
            InferenceRequest("openai", "chat.completions", "gpt-4.1", None, True, None, 300, json_size(MESSAGES)),
        ),
        (
            "POST /v3/chat/completions",
            CHAT,
            InferenceRequest("openai", "chat.completions", "gpt-4.1", None, True, None, 300, json_size(MESSAGES)),
        ),
        (
            "POST /v1/chat/completions/",
            CHAT,
            InferenceRequest("openai", "chat.completions", "gpt-4.1", None, True, None, 300, json_size(MESSAGES)),
        ),
        (
            "POST /v1/completions",
            {"model": "davinci", "prompt": "Once", "max_tokens": 0},
            InferenceRequest("openai", "completions", "davinci", None, False, None, 0, json_size("Once")),
        ),
        (
            "POST /v1/completions",
            {"model": "davinci", "prompt": "Once", "max_tokens": -1},
            InferenceRequest("openai", "completions", "davinci", prompt_bytes=json_size("Once")),
        ),
        ("POST /v1/conversations", {"items": []}, InferenceRequest("openai", "conversations", "")),
        ("POST /v1/conversations/conv_1/items", {"items": []}, InferenceRequest("openai", "conversations.items", "")),
        (
            "POST /v1/completions",
            {"model": "davinci", "prompt": ["Once", "upon"], "max_tokens": 16},
            InferenceRequest("openai", "completions", "davinci", None, False, None, 16, json_size(["Once", "upon"])),
        ),
        (
            "POST /v1/responses",
            RESPONSE,
            InferenceRequest("openai", "responses", "gpt-5", None, True, None, 64, json_size("Be kind.", "Why?")),
        ),
        (
            "POST /v1/responses/input_tokens",
            {"model": "gpt-5", "input": "Why?"},
            InferenceRequest("openai", "responses.input_tokens", "gpt-5", prompt_bytes=6),
        ),
        (
            "POST /v1/responses/compact",
            {"model": "gpt-5", "input": []},
            InferenceRequest("openai", "responses.compact", "gpt-5", prompt_bytes=2),
        ),
        (
            "POST /v1/embeddings",
            {"input": "A mesh.", "model": "text-embedding-3-small", "dimensions": 256},
            InferenceRequest("openai", "embeddings", "text-embedding-3-small", prompt_bytes=json_size("A mesh.")),
        ),
        (
            "POST /v1/images/generations",
            {"model": "gpt-image-1", "prompt": "A lighthouse", "stream": True, "partial_images": 2},
            InferenceRequest(
                "openai", "images.generations", "gpt-image-1", stream=True, prompt_bytes=json_size("A lighthouse")
            ),
        ),
        (
            "POST /v1/audio/speech",
            {"model": "gpt-4o-mini-tts", "input": "Good morning", "voice": "alloy", "stream_format": "sse"},
            InferenceRequest(
                "openai", "audio.speech", "gpt-4o-mini-tts", stream=True, prompt_bytes=json_size("Good morning")
            ),
        ),
        (
            "POST /v1/audio/speech",
            {"model": "tts-1", "input": "Good morning", "voice": "alloy", "stream_format": "audio"},
            InferenceRequest("openai", "audio.speech", "tts-1", prompt_bytes=json_size("Good morning")),
        ),
        (
            "POST /v1/decisions",
            {"model": "m", "input": "Fine.", "questions": []},
            InferenceRequest("openai", "decisions", "m", prompt_bytes=json_size("Fine.")),
        ),
        (
            "POST /v1/moderations",
            {"model": "omni-moderation-latest", "input": ["Fine."]},
            InferenceRequest("openai", "moderations", "omni-moderation-latest", prompt_bytes=json_size(["Fine."])),
        ),
        (
            "POST /v1/batches",
            {"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"},
            InferenceRequest("openai", "batches", ""),
        ),
        (
            "GET /v1/realtime?model=gpt-realtime",
            b"",
            InferenceRequest("openai", "realtime", "gpt-realtime", stream=True),
        ),
        ("GET /v1/realtime?intent=transcription", b"", InferenceRequest("openai", "realtime", "", stream=True)),
        (
            "POST /v1/realtime/calls?model=gpt-realtime%2Dmini",
            b"v=0\r\n",
            InferenceRequest("openai", "realtime.calls", "gpt-realtime-mini", stream=True),
        ),
        (
            "POST /v1/realtime/sessions",
            SESSION,
            InferenceRequest("openai", "realtime.sessions", "gpt-realtime", prompt_bytes=json_size("Be brief.")),
        ),
    ],
)
def test_asks_for(line: str, body: Any, expected: InferenceRequest) -> None:
    assert interpret(line, body) == expected


FORM = (
    b'--xx\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\ncontent-type: audio/wav\r\n\r\n'
    b"RIFF\r\n\0WAVE\r\n--xx\r\n"
    b'content-disposition: form-data; name="stream"\r\n\r\ntrue\r\n--xx\r\n'
    b'content-disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--xx--\r\n'
)


@pytest.mark.parametrize("version", ["v1", "v3"])
@pytest.mark.parametrize("path", ["audio/transcriptions", "audio/translations", "images/edits", "images/variations"])
def test_forms_name_the_model_even_behind_the_file(path: str, version: str) -> None:
    found = interpret(f"POST /{version}/{path}", FORM, {"content-type": "multipart/form-data; boundary=xx"})
    assert found == InferenceRequest("openai", path.replace("/", "."), "whisper-1", stream=True)


@pytest.mark.parametrize(
    ("line", "body", "reason"),
    [
        ("POST /v1/responses", {"input": "Why?", "previous_response_id": "resp_1"}, "no_model"),
        ("POST /v1/moderations", {"input": "Fine."}, "no_model"),
        ("POST /v1/chat/completions", {"model": None, "messages": []}, "bad_model"),
        ("POST /v1/images/edits", {"model": "gpt-image-1"}, "content_type"),
        ("PUT /v1/responses/resp_1", b"", "no_api"),
        ("GET /v1/models", b"", "no_api"),
        ("POST /v1/chat/completion", CHAT, "no_api"),
        ("POST /v1/chat/completions//", CHAT, "no_api"),
        ("POST /v1/load_lora_adapter", {"lora_name": "a", "lora_path": "/a"}, "no_api"),
        ("POST /v1/realtime?model=gpt-realtime", b"", "no_api"),
        ("GET /v1/realtime?model=a&model=b", b"", "no_api"),
        ("GET /v1/realtime?model=a&Model=b", b"", "no_api"),
        ("GET /v1/realtime?mode%4C=b&model=a", b"", "no_api"),
        ("GET /v1/realtime?MODEL=b", b"", "no_api"),
    ],
)
def test_does_not_ask_for(line: str, body: Any, reason: str) -> None:
    assert interpret(line, body) == reason


def test_what_the_head_tells_is_not_looked_for_in_the_body() -> None:
    assert head_suffices("POST /v1/batches")
    assert head_suffices("POST /v1/realtime/calls?model=m")
    assert not head_suffices("POST /v1/chat/completions")
