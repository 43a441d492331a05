"""JSON as it stands in answers, careless servers' too.

Where a token ends within a character, some write half of it: its first bytes, or half of a surrogate pair. Others write
``NaN`` for a probability. Clients read such events, and so does ``loads``.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from extproc.bodies.content_coding import too_fragmented

NOTHING = object()
"""What text is that is no JSON."""
_decode = msgspec.json.Decoder().decode


def loads(data: bytes) -> Any:
    """The document, or ``NOTHING``, also where it has too many pieces to build them all."""
    if too_fragmented(data, 0):
        return NOTHING
    try:
        return _decode(data)
    except RecursionError:
        return NOTHING
    except (msgspec.DecodeError, UnicodeDecodeError):
        try:
            return json.loads(data.decode("utf-8", "replace"), strict=False)
        except (ValueError, RecursionError):
            return NOTHING
