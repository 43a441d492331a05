"""The JSON body of an error that the processor itself answers, as OpenAI's API has it."""

from __future__ import annotations

import msgspec


def error_body(status: int, code: str, message: str) -> bytes:
    """The JSON body of an error for the client, in the format of OpenAI's errors, which SDKs can parse."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return msgspec.json.encode({"error": {"message": message, "type": kind, "code": code}})
