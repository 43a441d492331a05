"""One row of the table of inference APIs: which requests belong to which operation. Floor 2."""

from __future__ import annotations

import msgspec

from extproc.request import Reader


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """Method and path decide, and ``header`` where one is named; content types never do.

    ``path`` is matched segment by segment. ``{model}``, ``{version}`` and ``{*}`` stand for one segment each, the last
    for one that says nothing here; text may follow in the same segment, as in ``{model}:predict``. Where two rows fit,
    the one with a header comes first, then the one that stands first in the table.
    """

    method: str = "POST"
    path: str
    api: str
    operation: str
    reader: Reader | None = None
    """Reads the body where the head does not tell the model."""
    header: str = ""
    """Only requests with this header; it names the model."""
    query: str = ""
    """This parameter of the query names the model."""
    stream: bool = False
    """The operation answers piece by piece by its nature."""
    note: str = ""
    """For the documentation: what the table can't show."""
