"""One row of the table of inference APIs: which requests belong to which operation."""

from __future__ import annotations

import msgspec

from extproc.bodies.request import Reader

ANY_PATH = "*"
"""The path of a row that a header alone decides; such rows come after all others."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """Method and path decide, and ``header`` where one is named; content types never do.

    ``path`` is matched segment by segment. ``{model}``, ``{version}`` and ``{*}`` stand for one segment each, the last
    for one that says nothing here; text may follow in the same segment, as in ``{model}:predict``, and is compared
    without regard to case. Where two rows fit, the one with a header comes first, then the one that stands first in
    the table.
    """

    method: str = "POST"
    path: str
    api: str
    operation: str
    reader: Reader | None = None
    """Reads the body where the head does not tell all that a decision needs."""
    header: str = ""
    """Only requests with this header; it names the model."""
    query: str = ""
    """This parameter of the query names the model."""
    version_header: str = ""
    """This header names the version, where it is there."""
    unnamed: bool = False
    """The API has no name for its model, though the body is read for what else it tells."""
    stream: bool = False
    """The operation answers piece by piece by its nature."""
    uploads: bool = False
    """The client sends message after message: the body need never end before the answer."""
    note: str = ""
    """For the documentation: what the table can't show."""

    @property
    def names(self) -> str:
        """Where the model is named: ``header``, ``query``, ``path`` or ``body``; empty where the API has no name."""
        if self.header:
            return "header"
        if self.query:
            return "query"
        if "{model}" in self.path:
            return "path"
        return "body" if self.reader is not None and not self.unnamed else ""
