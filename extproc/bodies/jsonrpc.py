"""Reads what is called in a JSON-RPC message: its method, and the name in its parameters.

Source: JSON-RPC 2.0, and the Model Context Protocol's specification ("Tools", "Prompts"). As with ``model``, a key that
decides and stands twice is an error: two readers could call two tools.
"""

from __future__ import annotations

import msgspec

from extproc.bodies import json_scan
from extproc.bodies.content_coding import too_fragmented
from extproc.bodies.json_reader import ambiguous_name, named
from extproc.bodies.python_json import REPLACEMENT
from extproc.bodies.request import BodyEdit, BodyFields
from extproc.errors import Unreadable
from extproc.headers import Headers

NAMING = frozenset(("tools/call", "prompts/get"))
"""Methods whose parameter ``name`` says what is called."""

METHODS = NAMING | frozenset(
    (
        *("initialize", "ping", "completion/complete", "logging/setLevel", "prompts/list", "tools/list"),
        *("resources/list", "resources/read", "resources/subscribe", "resources/templates/list"),
        *("resources/unsubscribe", "tasks/cancel", "tasks/get", "tasks/list", "tasks/result"),
        *("notifications/cancelled", "notifications/initialized", "notifications/progress"),
        "notifications/roots/list_changed",
    )
)
"""What can be an operation's name: a closed set, since names become labels."""

OTHER = "other"
BATCH = "batch"
RESPONSE = "response"


class _Message(msgspec.Struct, gc=False):
    method: msgspec.Raw = json_scan.NOTHING
    params: msgspec.Raw = json_scan.NOTHING


class _Params(msgspec.Struct, gc=False):
    name: msgspec.Raw = json_scan.NOTHING
    arguments: msgspec.Raw = json_scan.NOTHING


_message = msgspec.json.Decoder(_Message).decode
_params = msgspec.json.Decoder(_Params).decode


class RpcReader:
    """A message, or a batch of them."""

    early = False

    def read(self, body: bytes, headers: Headers) -> BodyFields:  # noqa: ARG002 - every reader's signature
        """Operation, and where a tool or prompt is called its name as the model; the prompt is its arguments.

        Raises ``Unreadable`` (``no_body``, ``bad_json``, ``no_model``, ``bad_model``), and ``Rejected`` (400) where
        servers would differ on one of the keys that decide, or on the name.
        """
        if not body:
            raise Unreadable("no_body")
        text = came = json_scan.utf8(body).removeprefix(json_scan.BOM)
        if too_fragmented(text, len(text) // 8):  # it is gone through several times
            raise Unreadable("bad_json")
        if text.lstrip(b" \t\r\n")[:1] == b"[":
            return BodyFields(operation=BATCH)
        try:
            message = _message(text)
        except msgspec.DecodeError:
            message, text = json_scan.loosely(_message, text)
        except RecursionError:
            raise Unreadable("bad_json") from None
        json_scan.once(text, "method")
        if message.method is json_scan.NOTHING:
            return BodyFields(operation=RESPONSE)
        method = json_scan.scalar(message.method)
        if method not in NAMING:
            return BodyFields(operation=method if method in METHODS else OTHER)
        json_scan.once(text, "params")
        called = _called(method, message.params)
        if REPLACEMENT in called.model and text is not came:
            start, end = _name(text)
            if text[start:end] != came[start:end]:
                raise ambiguous_name()
        return called

    def rename(self, body: bytes, headers: Headers, model: str) -> BodyEdit | None:
        """The change that calls ``model`` instead; ``read`` must have passed. None where nothing is called."""
        if not self.read(body, headers).model:
            return None
        text = json_scan.utf8(body)
        start, end = _name(text)
        return json_scan.spliced(body, text, BodyEdit(start, end, msgspec.json.encode(model)))


def _name(text: bytes) -> tuple[int, int]:
    """Offsets of the name in the parameters of a message that was read."""
    at, end = next((start, end) for key, start, end in json_scan.members(text) if key == "params")
    start, end = json_scan.value_of(text[at:end], "name")
    return at + start, at + end


def _called(method: str, raw: msgspec.Raw) -> BodyFields:
    try:
        params = _params(raw)
    except (msgspec.DecodeError, RecursionError):
        raise Unreadable("no_model") from None
    json_scan.once(bytes(raw), "name")
    if params.name is json_scan.NOTHING:
        raise Unreadable("no_model")
    return BodyFields(named(params.name), prompt_bytes=memoryview(params.arguments).nbytes, operation=method)
