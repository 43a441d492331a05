"""JSON as model servers write it, which is not always JSON.

Where a token ends within a character, some servers write half of it: its first bytes, or half of a surrogate pair.
Others write ``NaN`` for a probability. Clients read such events, and so does ``loads``.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from extproc.bodies.content_coding import FREE_FRAGMENTS, too_fragmented

MAX_REFUSED = 100
"""Events of an answer, or of a session, that may be no JSON however they are read. To find that out takes as long as to
read several events: beyond them nothing that is not quite JSON is read.
"""
NOT_JSON = object()
"""Returned for a text that is no JSON."""
_decode = msgspec.json.Decoder().decode


def loads(data: bytes) -> Any:
    """The document; ``NOT_JSON`` also for one of more than ``FREE_FRAGMENTS`` pieces, which takes long to build."""
    document = loads_strictly(data)
    return loads_leniently(data) if document is NOT_JSON else document


def loads_strictly(data: bytes) -> Any:
    """The same, but ``NOT_JSON`` also for what is nearly JSON."""
    if len(data) > FREE_FRAGMENTS and too_fragmented(data, 0):
        return NOT_JSON
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return NOT_JSON


def loads_leniently(data: bytes) -> Any:
    """The same as ``loads``, of what ``loads_strictly`` has refused."""
    if len(data) > FREE_FRAGMENTS and too_fragmented(data, 0):
        return NOT_JSON
    try:
        return json.loads(data.decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError):
        return NOT_JSON
