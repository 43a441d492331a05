"""Reads JSON-RPC messages: the method, and the name of the tool or prompt in its parameters.

Source: JSON-RPC 2.0, and the Model Context Protocol's specification ("Tools", "Prompts"). As with ``model``, a
duplicate of a key that is read here is an error: two servers could call two tools.
"""

from __future__ import annotations

import msgspec

from extproc.bodies import json_scan
from extproc.bodies.ambiguous_keys import check_unambiguous
from extproc.bodies.content_coding import too_fragmented
from extproc.bodies.json_reader import ambiguous_model, decode_model
from extproc.bodies.python_json import REPLACEMENT
from extproc.bodies.request import BodyEdit, BodyFields
from extproc.bodies.string_span import string_span
from extproc.errors import Unreadable
from extproc.headers import Headers

NAMING = frozenset(("tools/call", "prompts/get"))
"""Methods whose parameter ``name`` is the tool or prompt."""

METHODS = NAMING | frozenset(
    (
        *("initialize", "ping", "completion/complete", "logging/setLevel", "prompts/list", "tools/list"),
        *("resources/list", "resources/read", "resources/subscribe", "resources/templates/list"),
        *("resources/unsubscribe", "tasks/cancel", "tasks/get", "tasks/list", "tasks/result"),
        *("notifications/cancelled", "notifications/initialized", "notifications/progress"),
        "notifications/roots/list_changed",
    )
)
"""Methods that are reported as operations: a closed set, since operations are values of a label."""

OTHER = "other"
BATCH = "batch"
RESPONSE = "response"


class _Message(msgspec.Struct, gc=False):
    method: msgspec.Raw = json_scan.MISSING
    params: msgspec.Raw = json_scan.MISSING


class _Params(msgspec.Struct, gc=False):
    name: msgspec.Raw = json_scan.MISSING
    arguments: msgspec.Raw = json_scan.MISSING


_message = msgspec.json.Decoder(_Message).decode
_params = msgspec.json.Decoder(_Params).decode


class RpcReader:
    """Reads a message, or a batch of them."""

    early = False

    def read(self, body: bytes, headers: Headers) -> BodyFields:  # noqa: ARG002 - every reader's signature
        """The operation; for a call, the name of the tool or prompt as the model, and its arguments as the prompt.

        Raises ``Unreadable`` (``no_body``, ``bad_json``, ``no_model``, ``bad_model``), and ``Rejected`` (400) where
        servers would differ on one of the keys that are read, or on the name.
        """
        if not body:
            raise Unreadable("no_body")
        text = original = json_scan.to_utf8(body).removeprefix(json_scan.BOM)
        if too_fragmented(text, len(text) // 8):  # the text is parsed several times
            raise Unreadable("bad_json")
        if text.lstrip(b" \t\r\n")[:1] == b"[":
            return BodyFields(operation=BATCH)
        try:
            message = _message(text)
        except msgspec.DecodeError:
            message, text = json_scan.decode_leniently(_message, text)
        except RecursionError:
            raise Unreadable("bad_json") from None
        check_unambiguous(text, "method")
        if message.method is json_scan.MISSING:
            return BodyFields(operation=RESPONSE)
        method = json_scan.scalar(message.method)
        if method not in NAMING:
            return BodyFields(operation=method if method in METHODS else OTHER)
        check_unambiguous(text, "params")
        called = _call_fields(method, message.params)
        if REPLACEMENT in called.model and text is not original:
            start, end = _name_span(text)
            if text[start:end] != original[start:end]:
                raise ambiguous_model()
        return called

    def rename(self, body: bytes, headers: Headers, model: str) -> BodyEdit | None:
        """The edit after which the message calls ``model``; None where it calls nothing. ``read`` must have passed."""
        if not self.read(body, headers).model:
            return None
        text = json_scan.to_utf8(body)
        start, end = _name_span(text)
        return json_scan.edit_of_original(body, text, BodyEdit(start, end, msgspec.json.encode(model)))


def _name_span(text: bytes) -> tuple[int, int]:
    """Offsets of the name in the parameters of a message that ``read`` has accepted."""
    at, end = next((start, end) for key, start, end in json_scan.members(text) if key == "params")
    start, end = string_span(text[at:end], "name")
    return at + start, at + end


def _call_fields(method: str, raw: msgspec.Raw) -> BodyFields:
    try:
        params = _params(raw)
    except (msgspec.DecodeError, RecursionError):
        raise Unreadable("no_model") from None
    check_unambiguous(bytes(raw), "name")
    if params.name is json_scan.MISSING:
        raise Unreadable("no_model")
    return BodyFields(decode_model(params.name), prompt_bytes=memoryview(params.arguments).nbytes, operation=method)
