"""Types that describe an operation's answers: where they hold output, their end, failures and token counts.

They only describe: ``answers`` compiles a shape and reads answers by it. Pointers are JSON Pointers (RFC 6901) in which
``*`` stands for each element of an array.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec


class Usage(msgspec.Struct, frozen=True):
    """Where an answer has its token counts: members of the objects at ``objects``.

    A member may be one level deeper (``a/b``). Several members of one count are added up. Where a member is repeated,
    in later events or in another of ``objects``, its last value that is not zero counts; the count itself never falls.
    The elements of a ``*`` in ``objects``, the parts of a batch and the elements of an array of documents are added up.
    """

    objects: tuple[str, ...]
    input: tuple[str, ...] = ()
    """Includes cached tokens: APIs that count those apart have several members here."""
    output: tuple[str, ...] = ()
    cached: tuple[str, ...] = ()
    part_index: str = ""
    """Where an event of a stream has the number of its part of a batch."""
    same_prompt: bool = False
    """All parts answer one prompt: their greatest input count is taken, not the sum."""
    in_last_events: bool = False
    """Read only from events without output and from events after which the answer may end; as is all with a ``*``."""


class AnswerShape(msgspec.Struct, frozen=True, kw_only=True):
    """Answers of one operation over HTTP: JSON documents, or streams of JSON events."""

    output: tuple[str, ...] = ()
    """An event has output where a text, list or object at one of these is not empty."""
    kind: tuple[str, ...] = ()
    """Where an event names its kind: the first that is present; else the framing names it (``event:`` of SSE)."""
    output_kinds: tuple[str, ...] = ()
    """Kinds of event that may have output; ``*`` in a kind stands for any text. Empty: any kind may."""
    end_kinds: tuple[str, ...] = ()
    """Kinds of event after which the answer is over: nothing that follows is read."""
    finish_kinds: tuple[str, ...] = ()
    """Kinds of event after which the answer is complete, though usage may follow."""
    error_kinds: tuple[str, ...] = ("error",)
    ends: tuple[str, ...] = ()
    """The answer is over with an event in which one of these is neither null nor false."""
    finishes: tuple[str, ...] = ()
    """The answer is complete after an event in which one of these is not empty, though usage may follow. Output that
    follows revokes it: one choice of several had finished, or one part of a batch."""
    errors: tuple[str, ...] = ("/error",)
    """The answer has failed, and is over, with an event in which one of these is not empty."""
    failures: tuple[str, ...] = ("/object=error",)
    """The answer has failed where one of these has one of the words (``/pointer=word|word``). The event may have
    output, and usage may follow. Read from the same events as ``Usage.in_last_events``."""
    has_end_mark: bool = True
    """A stream ends with a mark (``[DONE]`` is always one): without it, it was cut short."""
    usage: tuple[Usage, ...] = ()
    """Of each count the first of these with more than zero is taken."""
    usage_headers: tuple[str, str] | None = None
    """Names of the response headers with the counts of input and output."""
    pieces_are_tokens: bool = True
    """An event with output holds about one token: events are counted where no usage is, and there is a TPOT."""
    raw_output: bool = False
    """A response of unknown length that is no stream of events is output from its first byte (sound, for example)."""
    payload: Literal["", "base64", "raw"] = ""
    """What messages of an AWS event stream carry: JSON (empty), an event of the model's in base64 at ``/bytes``
    (``base64``), or the next bytes of the model's own stream (``raw``)."""


class GrpcAnswerShape(msgspec.Struct, frozen=True, kw_only=True):
    """Answers of one gRPC operation: paths of protobuf fields (``1.2``: field 2 of the message in field 1)."""

    output: tuple[str, ...] = ()
    """A message has output where one of these fields is not empty."""
    ends: tuple[str, ...] = ()
    """The answer is complete after a message with one of these; gRPC's status still follows."""
    errors: tuple[str, ...] = ()
    """Fields that must be empty, or must not be one of these words (``2.1=abort|error``)."""
    input_tokens: tuple[str, ...] = ()
    """The last of several that is present counts, as below. A count never falls."""
    output_tokens: tuple[str, ...] = ()
    cached_tokens: tuple[str, ...] = ()


Answers: TypeAlias = Mapping[str, AnswerShape | GrpcAnswerShape]
"""A family's answers by operation. Answers of other operations are timed to their end, and not read."""
