"""Paths of SDKs as their sources have them, and what is said of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.npm_paths import SOURCES, calls, is_read, reason

WRITTEN = {
    "openai": (
        "resources/a.mjs",
        "this._client.post('/embeddings', {}); this._client.getAPIList(path `/files/${id}/x`, Page)",
        ["POST /v1/embeddings", "GET /v1/files/x/x"],
    ),
    "@mistralai/mistralai": (
        "esm/funcs/a.js",
        'pathToFunc("/v1/agents/{id}#stream")(p);\n client._createRequest({ method: "PATCH" })',
        ["PATCH /v1/agents/x"],
    ),
    "cohere-ai": (
        "api/Client.js",
        (
            'url: core.url.join((await a()) ?? b, `v2/batches/${core.url.encode(id)}:cancel`),\n method: "POST",'
            'url: core.url.join((await a()) ?? b, "v2/chat"),\n method: "POST",'
        ),
        ["POST /v2/batches/x:cancel", "POST /v2/chat"],
    ),
    "ollama": (
        "dist/browser.mjs",
        "const host = `${this.config.host}/api/${endpoint}`; get(this.fetch, `${this.config.host}/api/ps`)",
        ["POST /api/x", "GET /api/ps"],
    ),
    "@aws-sdk/client-bedrock-runtime": (
        "dist-es/schemas/schemas_0.js",
        '{ [_h]: ["POST", "/model/{modelId}/converse", 200] }',
        ["POST /model/x/converse"],
    ),
}


@pytest.mark.parametrize("sdk", WRITTEN)
def test_calls_are_found_with_their_paths(tmp_path: Path, sdk: str) -> None:
    file, text, expected = WRITTEN[sdk]
    path = tmp_path / sdk / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    (source,) = (one for one in SOURCES if one.sdk == sdk)
    assert list(calls(tmp_path, source)) == expected


def test_a_call_that_is_not_understood_is_a_fault(tmp_path: Path) -> None:
    (source,) = (one for one in SOURCES if one.sdk == "openai")
    path = tmp_path / "openai/resources/a.mjs"
    path.parent.mkdir(parents=True)
    path.write_text("this._client.post('/embeddings'); this._client.post(where)")
    with pytest.raises(AssertionError, match="openai: 1 paths of 2 calls are understood"):
        list(calls(tmp_path, source))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("POST /v1/vector_stores/x/search?limit=1", "files, and what is made of them"),
        ("GET /v1/conversations", "what is kept is listed, or asked for by an id that the server gave"),
        ("POST /v1/conversations", ""),
        ("POST /v1beta/files:register", "tuning and administration"),
        ("POST /v1/videosphere", ""),
        ("POST /v1/telepathy", ""),
    ],
)
def test_what_is_listed(line: str, why: str) -> None:
    assert reason(line) == why


def test_what_is_read() -> None:
    assert is_read("POST /v1/chat/completions")
    assert not is_read("POST /v1/telepathy")
