"""Where prompts stand: in bodies that need not be read for the model, and in all others."""

from __future__ import annotations

import json

import pytest

from extproc import apis
from extproc.apis.prompts import has_prompt, prompt_text
from extproc.bodies.request import Operation
from extproc.headers import Headers

TURNS = [{"role": "user", "content": "Why?"}]


def operation(path: str) -> Operation:
    found = apis.classify("POST", path, Headers())
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/v1beta/models/g:generateContent", {"contents": TURNS, "systemInstruction": "Be."}, ["Be.", TURNS]),
        ("/v1beta/models/g:streamGenerateContent", {"contents": TURNS}, [TURNS]),
        ("/model/claude/converse", {"messages": TURNS, "system": [{"text": "Be."}]}, [[{"text": "Be."}], TURNS]),
        ("/model/titan/invoke", {"inputText": "Why?"}, ["Why?"]),
        ("/openai/deployments/gpt/chat/completions", {"messages": TURNS}, [TURNS]),
        ("/openai/deployments/gpt/completions", {"prompt": "Why?"}, ["Why?"]),
        ("/v2/models/m/generate", {"text_input": "Why?"}, ["Why?"]),
    ],
)
def test_where_the_path_names_the_model(path: str, body: object, expected: list[object]) -> None:
    found, text = operation(path), json.dumps(body).encode()
    assert has_prompt(found)
    assert prompt_text(found, text, 1000) == b"".join(json.dumps(value).encode() for value in expected)
    assert prompt_text(found, text, 5) == prompt_text(found, text, 1000)[:5]
    for broken in (b"", b"{", b"[]", b"\xff\xfe{", b"{}"):
        assert prompt_text(found, broken, 1000) == b""


@pytest.mark.parametrize("path", ["/v2/models/iris/infer", "/v1/models/iris:predict", "/v1/chat/completions"])
def test_others_have_none_of_these(path: str) -> None:
    assert not has_prompt(operation(path))
    assert prompt_text(operation(path), b'{"messages":[]}', 1000) == b""


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/v1/chat/completions", {"model": "m", "messages": TURNS}, [TURNS]),
        ("/v1/responses", {"model": "m", "input": "Why?", "instructions": "Be."}, ["Be.", "Why?"]),
        ("/v1/messages", {"model": "m", "messages": TURNS, "system": "Be.", "tools": []}, [[], "Be.", TURNS]),
        ("/api/generate", {"model": "m", "prompt": "Why?", "system": "Be."}, ["Be.", "Why?"]),
        ("/v1/embeddings", {"model": "m"}, []),
    ],
)
def test_where_the_body_names_it_the_reader_knows(path: str, body: object, expected: list[object]) -> None:
    reader = operation(path).reader
    assert reader is not None
    fields = reader.read(json.dumps(body).encode(), Headers())
    assert not isinstance(fields, int)
    whole = b"".join(json.dumps(value).encode() for value in expected)
    assert fields.prompt_text(1000) == whole
    assert fields.prompt_text(7) == whole[:7]
