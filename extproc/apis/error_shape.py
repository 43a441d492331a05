"""How an API writes its errors: a JSON document with places for what is told.

Each family's module declares its own (``ERRORS``); ``error_table`` holds them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import msgspec

Json: TypeAlias = "Mapping[str, Json] | list[Json] | str | int | None"

MESSAGE, CODE, REASON, STATUS, KIND = "{message}", "{code}", "{reason}", "{status}", "{kind}"
"""Places in a document: the message; our code (``no_model``), and the same in upper case; the HTTP status as a number;
what the API itself calls errors of this status."""


class ErrorShape(msgspec.Struct, frozen=True, kw_only=True):
    """The errors of one API."""

    document: Json
    kinds: Mapping[int, str | int] = {}
    """The API's own name for errors of a status. 400 and 500 stand for all other of their class."""
    header: str = ""
    """Name of a response header with the same name; empty: none."""

    def body(self, status: int, code: str, message: str) -> bytes:
        """The JSON body of an error. ``code``: ours, of lower-case letters and underscores."""
        values: dict[str, str | int] = {MESSAGE: message, CODE: code, REASON: code.upper(), STATUS: status}
        values[KIND] = self.kind(status)
        return msgspec.json.encode(_filled(self.document, values))

    def headers(self, status: int) -> tuple[tuple[str, str], ...]:
        """The response headers of an error."""
        content = (("content-type", "application/json"),)
        return (*content, (self.header, str(self.kind(status)))) if self.header else content

    def kind(self, status: int) -> str | int:
        """What the API calls errors of this status; empty where it has no names."""
        return self.kinds.get(status, self.kinds.get(400 if status < 500 else 500, ""))


def _filled(document: Json, values: Mapping[str, str | int]) -> Json:
    match document:
        case str():
            return values.get(document, document)
        case list():
            return [_filled(each, values) for each in document]
        case Mapping():
            return {key: _filled(each, values) for key, each in document.items()}
    return document


TEXT = ErrorShape(document={"error": MESSAGE})
"""Nothing but the message, as Ollama, TensorFlow Serving, KServe and all of the Open Inference Protocol have it."""
