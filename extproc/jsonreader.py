"""Reads what an inference API says in a JSON body. Floor 2: may import floors 0 and 1 and ``jsonbody``.

Two readers of one document can disagree: parsers differ in which of two equal keys they take. A gateway that reads one
``model`` and a server that reads another would route one model and serve another, so a second ``model`` is an error
here. Bodies that can't hold a second one (nearly all) are told by a search for bytes and never pay for the proof.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from extproc import jsonbody
from extproc.errors import Rejected, Unreadable
from extproc.headers import Headers
from extproc.request import BodyFields, Splice

MAX_MODEL_LENGTH = 256
"""Characters: a longer model name is taken for noise."""


class JsonReader:
    """One shape of JSON body. Pointers are top-level (``/max_tokens``) or one level down (``/options/num_predict``)."""

    early = False

    def __init__(
        self,
        *,
        model: str = "model",
        stream: str = "/stream",
        streams: bool = False,
        prompt: Sequence[str] = (),
        limit: Sequence[str] = (),
        adapter: str = "",
    ) -> None:
        """``model``: the top-level key; empty where the API has none. ``stream``: pointer of the flag; empty where
        there is none. ``streams``: what holds without it. ``prompt``: pointers whose bytes are the prompt. ``limit``:
        pointers of the answer's most tokens; the first that is given counts. ``adapter``: pointer of the LoRA adapter.
        """
        self._model = model
        self._streams = streams
        self._stream, self._adapter = _tokens(stream), _tokens(adapter)
        self._prompt, self._limit = [_tokens(p) for p in prompt], [_tokens(p) for p in limit]
        whole = {model} - {""}
        names = whole | {p[0] for p in (self._stream, self._adapter, *self._prompt, *self._limit) if p}
        scalars = whole | {p[0] for p in (self._stream, self._adapter, *self._limit) if len(p) == 1}
        self._attributes = {name: f"f{n}" for n, name in enumerate(sorted(names))}
        struct = msgspec.defstruct(
            "Fields",
            [
                (attribute, Any, msgspec.UNSET) if name in scalars else (attribute, msgspec.Raw, msgspec.Raw(b""))
                for name, attribute in self._attributes.items()
            ],
            rename={attribute: name for name, attribute in self._attributes.items()},
            gc=False,
        )
        self._decode = msgspec.json.Decoder(struct).decode

    def read(self, body: bytes, headers: Headers) -> BodyFields:  # noqa: ARG002 - every reader's signature
        """What the body tells.

        Raises ``Unreadable`` (``no_body``, ``bad_json``, ``no_model``, ``bad_model``), and ``Rejected`` (400) where the
        model's key stands twice at the top level, however it is spelled.
        """
        if not body:
            raise Unreadable("no_body")
        text = _utf8(body)
        try:
            fields = self._decode(text.removeprefix(jsonbody.BOM))
        except (msgspec.DecodeError, RecursionError):
            raise Unreadable("bad_json") from None
        model = self._named(fields, text) if self._model else ""
        stream = self._at(fields, self._stream) if self._stream else None
        limits = (self._at(fields, pointer) for pointer in self._limit)
        adapter = self._at(fields, self._adapter) if self._adapter else None
        return BodyFields(
            model,
            None,
            stream if isinstance(stream, bool) else self._streams,
            adapter if isinstance(adapter, str) and adapter else None,
            next((n for n in limits if isinstance(n, int) and not isinstance(n, bool) and n > 0), None),
            sum(self._size(fields, pointer) for pointer in self._prompt),
        )

    def rename(self, body: bytes, headers: Headers, model: str) -> Splice | None:  # noqa: ARG002
        """The change that puts ``model`` in place of the model's value; ``read`` must have passed."""
        if not self._model:
            return None
        text = _utf8(body)
        start, end = jsonbody.value_of(text, self._model)
        splice = Splice(start, end, msgspec.json.encode(model))
        if text is body:
            return splice
        return Splice(0, len(body), splice(text).decode().encode(json.detect_encoding(body)))

    def _named(self, fields: Any, text: bytes) -> str:
        key = self._model
        model = getattr(fields, self._attributes[key])
        if model is msgspec.UNSET:
            raise Unreadable("no_model")
        if jsonbody.may_repeat(text, key) and sum(name == key for name, _, _ in jsonbody.members(text)) > 1:
            raise Rejected(400, f"duplicate_{key}", f"the request body has more than one '{key}' key")
        if not isinstance(model, str) or not 0 < len(model) <= MAX_MODEL_LENGTH:
            raise Unreadable("bad_model")
        return model

    def _at(self, fields: Any, pointer: Sequence[str]) -> Any:
        value = getattr(fields, self._attributes[pointer[0]])
        return value if len(pointer) == 1 else _object(value).get(pointer[1])

    def _size(self, fields: Any, pointer: Sequence[str]) -> int:
        value = getattr(fields, self._attributes[pointer[0]])
        if len(pointer) == 1:
            return memoryview(value).nbytes
        inner = _object(value).get(pointer[1])
        return 0 if inner is None else len(msgspec.json.encode(inner))


def _tokens(pointer: str) -> tuple[str, ...]:
    return tuple(pointer.split("/")[1:])


def _object(raw: msgspec.Raw) -> dict[str, Any]:
    """A member that holds an object; empty where it is missing or holds something else."""
    try:
        value = msgspec.json.decode(raw) if memoryview(raw).nbytes else {}
    except RecursionError:
        return {}
    return value if isinstance(value, dict) else {}


def _utf8(body: bytes) -> bytes:
    """The body in UTF-8, as JSON should come; servers in Python read UTF-16 and UTF-32 as well, so we do too."""
    if body[0] < 0x80 and 0 not in body[:4]:
        return body
    encoding = json.detect_encoding(body)
    if encoding.startswith("utf-8"):
        return body
    try:
        return body.decode(encoding).encode()
    except UnicodeError:
        raise Unreadable("bad_json") from None
