"""Reads what an inference API says in a JSON body. Floor 2: may import floors 0 and 1 and ``jsonbody``.

Two readers of one document can disagree: parsers differ in which of two equal keys they take. A gateway that reads one
``model`` and a server that reads another would route one model and serve another, so a second ``model`` is an error
here. Bodies that can't hold a second one (nearly all) are told by a search for bytes and never pay for the proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from extproc import jsonbody
from extproc.errors import Unreadable
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
        self._stream = _tokens(stream)
        self._adapter, self._prompt, self._limit = ([_tokens(p) for p in ps] for ps in (adapter, prompt, limit))
        names = {model} - {""} | {p[0] for p in (self._stream, *self._adapter, *self._prompt, *self._limit) if p}
        self._attributes = {name: f"f{n}" for n, name in enumerate(sorted(names))}
        struct = msgspec.defstruct(
            "Fields",
            [(attribute, msgspec.Raw, jsonbody.NOTHING) for attribute in self._attributes.values()],
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
        text = jsonbody.utf8(body)
        try:
            fields = self._decode(text.removeprefix(jsonbody.BOM))
        except (msgspec.DecodeError, RecursionError):
            raise Unreadable("bad_json") from None
        model = self._named(fields, text) if self._model else ""
        stream = self._at(fields, self._stream) if self._stream else None
        limits = (self._at(fields, pointer) for pointer in self._limit)
        adapters = (self._at(fields, pointer) for pointer in self._adapter)
        return BodyFields(
            model,
            None,
            stream == self._streaming if type(stream) is type(self._streaming) else self.streams,
            next((name for name in adapters if isinstance(name, str) and name), None) if self._adapter else None,
            next((n for n in limits if isinstance(n, int) and not isinstance(n, bool) and n > 0), None),
            sum(self._size(fields, pointer) for pointer in self._prompt),
        )

    def rename(self, body: bytes, headers: Headers, model: str) -> Splice | None:  # noqa: ARG002
        """The change that puts ``model`` in place of the model's value; ``read`` must have passed."""
        if not self._model:
            return None
        text = jsonbody.utf8(body)
        start, end = jsonbody.value_of(text, self._model)
        return jsonbody.spliced(body, text, Splice(start, end, msgspec.json.encode(model)))

    def _named(self, fields: Any, text: bytes) -> str:
        key = self._model
        model = getattr(fields, self._attributes[key])
        if model is jsonbody.NOTHING:
            raise Unreadable("no_model")
        jsonbody.once(text, key)
        return usable(jsonbody.scalar(model))

    def _raw(self, fields: Any, pointer: Sequence[str]) -> msgspec.Raw:
        value: msgspec.Raw = getattr(fields, self._attributes[pointer[0]])
        return value if len(pointer) == 1 else jsonbody.inside(value, pointer[1])

    def _at(self, fields: Any, pointer: Sequence[str]) -> Any:
        return jsonbody.scalar(self._raw(fields, pointer))

    def _size(self, fields: Any, pointer: Sequence[str]) -> int:
        return memoryview(self._raw(fields, pointer)).nbytes


def usable(model: Any) -> str:
    """A model's name, if it can be one. Raises ``Unreadable("bad_model")``."""
    if not isinstance(model, str) or not 0 < len(model) <= MAX_MODEL_LENGTH:
        raise Unreadable("bad_model")
    return model


def _tokens(pointer: str) -> tuple[str, ...]:
    return tuple(pointer.split("/")[1:])
