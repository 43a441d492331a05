"""JSON as model servers write it, which is not always JSON.

Where a token ends within a character, some servers write half of it: its first bytes, or half of a surrogate pair.
Others write ``NaN`` for a probability. Clients read such events, and so does ``loads``.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from extproc.bodies.content_coding import FREE_FRAGMENTS, too_fragmented

NOT_JSON = object()
"""Returned for a text that is no JSON."""
_decode = msgspec.json.Decoder().decode


def loads(data: bytes) -> Any:
    """The document; ``NOT_JSON`` also for one of more than ``FREE_FRAGMENTS`` pieces, which takes long to build."""
    if len(data) > FREE_FRAGMENTS and too_fragmented(data, 0):
        return NOT_JSON
    try:
        return _decode(data)
    except RecursionError:
        return NOT_JSON
    except (msgspec.DecodeError, UnicodeDecodeError):
        try:
            return json.loads(data.decode("utf-8", "replace"), strict=False)
        except (ValueError, RecursionError):
            return NOT_JSON
