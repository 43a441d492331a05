"""Whose an error is that an answer of status 200 tells of."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.answers.client_errors import is_client_error


@pytest.mark.parametrize(
    "document",
    [
        {"error": {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}},
        {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}},
        {"object": "error", "message": "no such model", "type": "NotFoundError", "code": 404},
        {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "no"}},
        {"error": {"code": "429"}},
        {"type": "response.failed", "response": {"status": "failed", "error": {"code": "invalid_prompt"}}},
        {"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "no such tool"}},
    ],
)
def test_the_client_has_made_these(document: dict[str, Any]) -> None:
    assert is_client_error(document)


@pytest.mark.parametrize(
    "document",
    [
        {"error": {"message": "out of memory", "type": "server_error", "code": 500}},
        {"type": "error", "error": {"type": "overloaded_error"}},
        {"error": "out of memory"},
        {"error": {"code": 503, "status": "UNAVAILABLE"}},
        {"type": "response.failed", "response": {"status": "failed", "error": {"code": "server_error"}}},
        {"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": "internal"}},
        {"error": {"type": ["invalid_request_error"], "code": True, "status": None}},
        {"error": {"code": "4xx"}, "response": ["error"]},
        {},
    ],
)
def test_the_server_has_made_these_or_it_is_not_said(document: dict[str, Any]) -> None:
    assert not is_client_error(document)
