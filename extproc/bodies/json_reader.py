"""Reads what an inference API says in a JSON body.

Two readers of one document can disagree: parsers differ in which of two equal keys they take. A gateway that reads one
``model`` and a server that reads another would route one model and serve another, so a second ``model`` is an error
here, and so is a name that they would read as two (``named``). Bodies that can't hold a second one (nearly all) are
told by a search for bytes and never pay for the proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

from extproc.bodies import json_scan
from extproc.bodies.json_scan import BOM, NOTHING, loosely, once, utf8
from extproc.bodies.python_json import REPLACEMENT
from extproc.bodies.request import BodyEdit, RequestFields
from extproc.errors import Rejected, Unreadable
from extproc.headers import Headers

MAX_MODEL_LENGTH = 256
"""Characters: a longer model name is taken for noise."""

_text = msgspec.json.Decoder(str).decode

_Place: TypeAlias = tuple[str, str]
"""Where a pointer points: the attribute of a decoded body, and the key within that, if any."""


class JsonReader:
    """One shape of JSON body. Pointers are top-level (``/max_tokens``) or one level down (``/options/num_predict``)."""

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
    ) -> None:
        """``model``: the top-level key; empty where the API has none. ``stream``: pointer of the flag; empty where
        there is none. ``streaming``: the flag's value that wants the answer piece by piece; ``streams``: what holds
        without the flag. ``prompt``: pointers whose bytes are the prompt. ``limit``: pointers of the answer's most
        tokens, ``adapter``: of the LoRA adapter; the first that is given counts.
        """
        self.pointers = {
            "model": [f"/{model}"] if model else [],
            "stream": [stream] if stream else [],
            "prompt": prompt,
            "limit": limit,
            "adapter": adapter,
        }
        """What is read, for the documentation."""
        self.streams = streams
        self._model = model
        self._streaming = streaming
        every = (self.pointers[name] for name in ("model", "stream", "prompt", "limit", "adapter"))
        keys = sorted({pointer.split("/")[1] for pointers in every for pointer in pointers})
        self._attributes = {key: f"f{n}" for n, key in enumerate(keys)}
        self._named = self._attributes.get(model, "")
        self._stream, self._prompt, self._limit, self._adapter = (
            [self._place(pointer) for pointer in self.pointers[name]]
            for name in ("stream", "prompt", "limit", "adapter")
        )
        struct = msgspec.defstruct(
            "Fields",
            [(attribute, msgspec.Raw, NOTHING) for attribute in self._attributes.values()],
            rename={attribute: name for name, attribute in self._attributes.items()},
            gc=False,
        )
        self._decode = msgspec.json.Decoder(struct).decode

    def read(self, body: bytes, headers: Headers) -> RequestFields:  # noqa: ARG002 - every reader's signature
        """What the body tells.

        Raises ``Unreadable`` (``no_body``, ``bad_json``, ``no_model``, ``bad_model``), and ``Rejected`` (400) where
        servers would differ on the model: its key stands twice at the top level, however it is spelled, or in other
        letters (``once``); its name is no text to all of them (``named``).
        """
        if not body:
            raise Unreadable("no_body")
        text = utf8(body)
        try:
            fields = self._decode(text.removeprefix(BOM))
        except msgspec.DecodeError:
            return self._read_loosely(text)
        except RecursionError:
            raise Unreadable("bad_json") from None
        return _Document(self, fields, self._read_model(fields, text) if self._model else "")

    def streaming(self, fields: Any) -> bool:
        """Whether the answer is wanted piece by piece."""
        stream = json_scan.scalar(_raw(fields, self._stream[0])) if self._stream else None
        return stream == self._streaming if type(stream) is type(self._streaming) else self.streams

    def adapter(self, fields: Any) -> str | None:
        """The first that is given."""
        found: str | None = _first(fields, self._adapter, str)
        return found

    def limit(self, fields: Any) -> int | None:
        """The first that is given."""
        found: int | None = _first(fields, self._limit, int)
        return found

    def prompt(self, fields: Any) -> int:
        """Bytes of all that is there of it."""
        raws = (_raw(fields, place) for place in self._prompt)
        return sum(memoryview(raw).nbytes for raw in raws if raw is not NOTHING)

    @property
    def names_model(self) -> bool:
        """Whether the model is the document's ``model``."""
        return self._model == "model"

    def rename(self, body: bytes, headers: Headers, model: str) -> BodyEdit | None:  # noqa: ARG002
        """The change that puts ``model`` in place of the model's value; ``read`` must have passed."""
        if not self._model:
            return None
        text = utf8(body)
        start, end = json_scan.value_of(text, self._model)
        return json_scan.spliced(body, text, BodyEdit(start, end, msgspec.json.encode(model)))

    def _read_loosely(self, text: bytes) -> RequestFields:
        fields, changed = loosely(self._decode, text)
        if not self._model:
            return _Document(self, fields, "")
        model = self._read_model(fields, changed)
        if REPLACEMENT in model:
            start, end = json_scan.value_of(changed, self._model)
            if changed[start:end] != text[start:end]:
                raise ambiguous_name()
        return _Document(self, fields, model)

    def _read_model(self, fields: Any, text: bytes) -> str:
        model = getattr(fields, self._named)
        once(text, self._model)
        if model is NOTHING:
            raise Unreadable("no_model")
        return named(model)

    def _place(self, pointer: str) -> _Place:
        _, key, *rest = pointer.split("/")
        return self._attributes[key], rest[0] if rest else ""


class _Document:
    """``Told``, of one body. What no decision rests on is read when it is asked for."""

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


def _raw(fields: Any, place: _Place) -> msgspec.Raw:
    attribute, inner = place
    value: msgspec.Raw = getattr(fields, attribute)
    return json_scan.inside(value, inner) if inner and value is not NOTHING else value


def _first(fields: Any, places: Sequence[_Place], kind: type[int | str]) -> Any:
    """The first value of this kind that says something: no empty text, no negative number, which sets no limit."""
    for place in places:
        raw = _raw(fields, place)
        if raw is NOTHING:
            continue
        value = json_scan.scalar(raw)
        if type(value) is kind and (value >= 0 if isinstance(value, int) else value):
            return value
    return None


def named(raw: msgspec.Raw) -> str:
    """The model's name in a JSON string, if it can be one.

    Raises ``Unreadable("bad_model")``, and ``Rejected`` (400) where it holds surrogates that are encoded by themselves:
    Python's ``json`` reads them as they are, Go's puts U+FFFD in their place.
    """
    try:
        model: str = _text(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):  # it is no text, or none in UTF-8
        if _has_surrogates(bytes(raw)):
            raise ambiguous_name() from None
        raise Unreadable("bad_model") from None
    if not 0 < len(model) <= MAX_MODEL_LENGTH:
        raise Unreadable("bad_model")
    return model


def _has_surrogates(value: bytes) -> bool:
    """Of a value that is no string in UTF-8: whether it is one but for them."""
    try:
        return value.startswith(b'"') and bool(value.decode("utf-8", "surrogatepass"))
    except UnicodeDecodeError:
        return False


def ambiguous_name() -> Rejected:
    """The refusal of a name that holds a lone surrogate."""
    message = "the model's name in the request body is not Unicode text (a surrogate stands alone); servers differ"
    return Rejected(400, "ambiguous_model", message)
