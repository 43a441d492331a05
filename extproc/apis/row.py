"""One row of the table of inference APIs: which method and path belong to which operation. Floor 2."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from extproc.request import BodyFields


class Row(msgspec.Struct, frozen=True):
    """``path`` is matched segment by segment; ``{model}`` and ``{version}`` stand for one segment each."""

    method: str
    path: str
    api: str
    operation: str
    read: Callable[[bytes], BodyFields] | None = None
    """Reads the body where the path does not tell the model; see ``Operation.read``."""
