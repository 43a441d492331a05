"""How the answers of one operation tell what is asked of them: the first token, the end, errors, usage.

A shape says where to look, ``reading`` looks. Pointers are JSON Pointers (RFC 6901) in which
``*`` stands for each element of an array.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Usage(msgspec.Struct, frozen=True):
    """Where an answer tells its tokens: names below each of ``at``, which may be one level deeper (``a/b``).

    Different names are added up. Of equal names the last value counts that is not zero, in a stream and over all of
    ``at``, and a sum never falls: what is told later, and is less, replaces nothing. The elements of a ``*`` in ``at``,
    the parts of a batch and the elements of a document that is an array are added up as well.
    """

    at: tuple[str, ...]
    input: tuple[str, ...] = ()
    """With the cached ones: APIs that count them apart have several names here."""
    output: tuple[str, ...] = ()
    cached: tuple[str, ...] = ()
    part: str = ""
    """Where an event of a stream says, by its number, of which part of a batch it is."""
    shared: bool = False
    """Parts answer the same prompt: the most input that one of them tells counts, not the sum."""
    late: bool = False
    """Looked for only in events that hold no output, or after which the answer may end; so is whatever has a ``*``."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The answers of one operation."""

    tokens: tuple[str, ...] = ()
    """Text, list or object that is there and not empty: this event holds output."""
    kind: tuple[str, ...] = ()
    """Where an event says of which kind it is: the first that is there; else the wire says it."""
    token_kinds: tuple[str, ...] = ()
    """Kinds of event that hold output; ``*`` in a kind stands for any text. None: any kind may."""
    end_kinds: tuple[str, ...] = ()
    """After these nothing follows that we need."""
    last_kinds: tuple[str, ...] = ()
    """After these the answer may end, though there is more to be read if it comes."""
    error_kinds: tuple[str, ...] = ("error",)
    ends: tuple[str, ...] = ()
    """What is neither null nor false in the last event."""
    finishes: tuple[str, ...] = ()
    """What is not empty in an event after which the answer may end, though there is more to be read if it comes. Output
    takes it back: that was one choice of several, or one part of a batch."""
    errors: tuple[str, ...] = ("/error",)
    """What is true or not empty in an event that reports a failure."""
    failures: tuple[str, ...] = ("/object=error",)
    """Words that report one (``/pointer=word|word``): output may stand beside them, and usage follow. Looked for as
    ``Usage.late`` is."""
    marked: bool = True
    """A stream ends with a mark of its own (``[DONE]`` always is one): without it, it was cut short."""
    usage: tuple[Usage, ...] = ()
    headers: tuple[str, str] | None = None
    """Of the response: the tokens of input and of output."""
    counted: bool = True
    """A piece of output is a token or so: it may be counted where nobody tells, and has a time of its own."""
    bare: bool = False
    """An answer of unknown length that is no stream of events is output from its first byte: sound, for example."""
    inner: Literal["", "base64", "raw"] = ""
    """An event of the wire holds an event of the model's own (``base64``, in ``/bytes``), or just the next bytes of the
    model's own stream (``raw``)."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """The answers of one gRPC operation: paths of fields (``1.2``: field 2 of the message in field 1)."""

    tokens: tuple[str, ...] = ()
    """A field that is there and not empty: this message holds output."""
    ends: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    """A field that is there and not empty, or one that says one of these words (``2.1=abort|error``)."""
    input: tuple[str, ...] = ()
    """Of several, the last that is there counts; so below. A count never falls."""
    output: tuple[str, ...] = ()
    cached: tuple[str, ...] = ()
