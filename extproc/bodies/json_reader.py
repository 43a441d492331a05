"""Reads what an inference API says in a JSON body.

JSON parsers differ in which of two equal keys they take. A gateway that reads one ``model`` and a server that reads
another would route one model and serve another. So a second ``model`` is an error here, and so is a name that parsers
decode differently (``decode_model``). A byte search shows that nearly all bodies can't hold a second one; only the
others are parsed member by member.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

from extproc.bodies import json_scan
from extproc.bodies.ambiguous_keys import check_unambiguous
from extproc.bodies.json_scan import BOM, MISSING, decode_leniently, scalar, to_utf8
from extproc.bodies.python_json import REPLACEMENT
from extproc.bodies.request import BodyEdit, RequestFields
from extproc.bodies.string_span import string_span
from extproc.errors import Rejected, Unreadable
from extproc.headers import Headers

MAX_MODEL_LENGTH = 256
"""Characters: a longer model name is taken for noise."""

_text = msgspec.json.Decoder(str).decode

_Location: TypeAlias = tuple[str, str]
"""A parsed pointer: the attribute of the decoded body, and the key within its value, empty where there is none."""


class JsonReader:
    """Reads one shape of JSON body. Pointers have one token (``/max_tokens``) or two (``/options/num_predict``)."""

    early = False

    def __init__(
        self,
        *,
        model: str = "model",
        stream: str = "/stream",
        streaming: bool | str = True,
        streams: bool = False,
        prompt: Sequence[str] = (),
        limit: Sequence[str] = (),
        adapter: Sequence[str] = (),
        required: Sequence[str] = (),
    ) -> None:
        """``model``: top-level key of the model; empty where the API has none. ``stream``: pointer to the flag for
        streaming; empty where there is none. ``streaming``: the flag's value that asks for a stream; ``streams``:
        whether the answer is a stream without the flag. ``prompt``: pointers to all parts of the prompt, in the order
        in which a server renders them. ``limit``: pointers to the maximum number of output tokens, ``adapter``: to the
        LoRA adapter; the first that is set counts. ``required``: top-level keys of which every request has one at
        least, where the API has no model.
        """
        self.pointers = {
            "model": [f"/{model}"] if model else [],
            "stream": [stream] if stream else [],
            "prompt": prompt,
            "limit": limit,
            "adapter": adapter,
        }
        """Pointers by what they point to; also for the documentation."""
        self.streams = streams
        self._model = model
        self._streaming = streaming
        every = (self.pointers[name] for name in ("model", "stream", "prompt", "limit", "adapter"))
        keys = sorted({pointer.split("/")[1] for pointers in every for pointer in pointers}.union(required))
        self._attributes = {key: f"f{n}" for n, key in enumerate(keys)}
        self._required = [self._attributes[key] for key in required]
        self._model_attribute = self._attributes.get(model, "")
        self._stream, self._prompt, self._limit, self._adapter = (
            [self._location(pointer) for pointer in self.pointers[name]]
            for name in ("stream", "prompt", "limit", "adapter")
        )
        struct = msgspec.defstruct(
            "Fields",
            [(attribute, msgspec.Raw, MISSING) for attribute in self._attributes.values()],
            rename={attribute: name for name, attribute in self._attributes.items()},
            gc=False,
        )
        self._decode = msgspec.json.Decoder(struct).decode

    def read(self, body: bytes, headers: Headers) -> RequestFields:  # noqa: ARG002 - every reader's signature
        """The fields of the body.

        Raises ``Unreadable`` (``no_body``, ``bad_json``, ``no_api`` where none of the keys is there that are required,
        ``no_model``, ``bad_model``), and ``Rejected`` (400) where servers would differ on the model: its key stands
        twice at the top level, however it is spelled, or in other case (``check_unambiguous``); the name is not valid
        Unicode (``decode_model``).
        """
        if not body:
            raise Unreadable("no_body")
        text = to_utf8(body)
        try:
            fields = self._decode(text.removeprefix(BOM))
        except msgspec.DecodeError:
            return self._read_leniently(text)
        except RecursionError:
            raise Unreadable("bad_json") from None
        return _Document(self, fields, self._read_model(fields, text) if self._model else self._no_model(fields))

    def streaming(self, fields: Any) -> bool:
        """Whether the client asks for a streamed answer."""
        raw = _raw(fields, self._stream[0]) if self._stream else MISSING
        if raw is MISSING:
            return self.streams
        stream = scalar(raw)
        return stream == self._streaming if type(stream) is type(self._streaming) else self.streams

    def adapter(self, fields: Any) -> str | None:
        """The first adapter that is set."""
        found: str | None = _first_value(fields, self._adapter, str)
        return found

    def limit(self, fields: Any) -> int | None:
        """The first token limit that is set."""
        found: int | None = _first_value(fields, self._limit, int)
        return found

    def prompt(self, fields: Any) -> int:
        """Bytes of all values that are part of the prompt."""
        raws = (_raw(fields, place) for place in self._prompt)
        return sum(memoryview(raw).nbytes for raw in raws if raw is not MISSING)

    def prompt_text(self, fields: Any, limit: int) -> bytes:
        """The first ``limit`` bytes of those values, one behind the other."""
        views = (memoryview(_raw(fields, place)) for place in self._prompt)
        return b"".join(view[:limit] for view in views)[:limit]

    @property
    def names_model(self) -> bool:
        """Whether the top-level key of the model is ``model``."""
        return self._model == "model"

    def rename(self, body: bytes, headers: Headers, model: str) -> BodyEdit | None:  # noqa: ARG002
        """The edit that replaces the value of the model; ``read`` must have accepted the body."""
        if not self._model:
            return None
        text = to_utf8(body)
        start, end = string_span(text, self._model)
        return json_scan.edit_of_original(body, text, BodyEdit(start, end, msgspec.json.encode(model)))

    def _read_leniently(self, text: bytes) -> RequestFields:
        fields, changed = decode_leniently(self._decode, text)
        if not self._model:
            return _Document(self, fields, self._no_model(fields))
        model = self._read_model(fields, changed)
        if REPLACEMENT in model:
            start, end = string_span(changed, self._model)
            if changed[start:end] != text[start:end]:
                raise ambiguous_model()
        return _Document(self, fields, model)

    def _read_model(self, fields: Any, text: bytes) -> str:
        model = getattr(fields, self._model_attribute)
        check_unambiguous(text, self._model)
        if model is MISSING:
            raise Unreadable("no_model")
        return decode_model(model)

    def _no_model(self, fields: Any) -> str:
        """The name where the API has none: empty."""
        if self._required and all(getattr(fields, attribute) is MISSING for attribute in self._required):
            raise Unreadable("no_api")
        return ""

    def _location(self, pointer: str) -> _Location:
        _, key, *rest = pointer.split("/")
        return self._attributes[key], rest[0] if rest else ""


class _Document:
    """``RequestFields`` of one body. What no decision depends on is decoded on access."""

    __slots__ = ("_fields", "_reader", "model")
    version = None
    operation = ""

    def __init__(self, reader: JsonReader, fields: Any, model: str) -> None:
        self.model = model
        self._reader, self._fields = reader, fields

    @property
    def stream(self) -> bool:
        return self._reader.streaming(self._fields)

    @property
    def adapter(self) -> str | None:
        return self._reader.adapter(self._fields)

    @property
    def max_tokens(self) -> int | None:
        return self._reader.limit(self._fields)

    @property
    def prompt_bytes(self) -> int:
        return self._reader.prompt(self._fields)

    def prompt_text(self, limit: int) -> bytes:
        return self._reader.prompt_text(self._fields, limit)


def _raw(fields: Any, place: _Location) -> msgspec.Raw:
    attribute, inner = place
    value: msgspec.Raw = getattr(fields, attribute)
    return json_scan.inside(value, inner) if inner and value is not MISSING else value


def _first_value(fields: Any, places: Sequence[_Location], kind: type[int | str]) -> Any:
    """The first value of this type that is set: not an empty string, and not a negative number, which is no limit."""
    for place in places:
        raw = _raw(fields, place)
        if raw is MISSING:
            continue
        value = scalar(raw)
        if type(value) is kind and (value >= 0 if isinstance(value, int) else value):
            return value
    return None


def decode_model(raw: msgspec.Raw) -> str:
    """The model's name from a JSON string.

    Raises ``Unreadable("bad_model")`` where it is no string or its length is out of bounds, and ``Rejected`` (400)
    where it holds surrogates encoded as UTF-8: Python's ``json`` keeps them, Go's puts U+FFFD in their place.
    """
    try:
        model: str = _text(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):  # not a string, or not UTF-8
        if _has_surrogates(bytes(raw)):
            raise ambiguous_model() from None
        raise Unreadable("bad_model") from None
    if not 0 < len(model) <= MAX_MODEL_LENGTH:
        raise Unreadable("bad_model")
    return model


def _has_surrogates(value: bytes) -> bool:
    """Whether a JSON value that is not a UTF-8 string would be one if surrogates were allowed in UTF-8."""
    try:
        return value.startswith(b'"') and bool(value.decode("utf-8", "surrogatepass"))
    except UnicodeDecodeError:
        return False


def ambiguous_model() -> Rejected:
    """The error for a model name that holds a lone surrogate."""
    message = "the model's name in the request body is not Unicode text (a surrogate stands alone); servers differ"
    return Rejected(400, "ambiguous_model", message)
