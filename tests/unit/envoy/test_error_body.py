"""Errors of the processor's own have the shape that OpenAI's SDKs show."""

from __future__ import annotations

import json

import pytest

from extproc.envoy.error_body import error_body


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (413, "invalid_request_error"),
        (499, "invalid_request_error"),
        (500, "server_error"),
    ],
)
def test_the_type_follows_the_status(status: int, kind: str) -> None:
    body = json.loads(error_body(status, "a_code", 'it is "wrong"\n'))
    assert body == {"error": {"message": 'it is "wrong"\n', "type": kind, "code": "a_code"}}
