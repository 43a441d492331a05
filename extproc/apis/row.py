"""One row of the table of inference APIs: which requests belong to which operation."""

from __future__ import annotations

import msgspec

from extproc.bodies.request import Reader

ANY_PATH = "*"
"""The path of a row that matches by header alone; such rows come after all others."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """Requests match by method and path, and by ``header`` where it is set; never by content type.

    ``path`` is matched segment by segment. ``{model}``, ``{version}`` and ``{*}`` (ignored) stand for one segment each;
    text may follow in the same segment, as in ``{model}:predict``, and is compared without regard to case. Where two
    rows match, the one with a header comes first, then the one that is earlier in the table.
    """

    method: str = "POST"
    path: str
    api: str
    operation: str
    reader: Reader | None = None
    """Reads the body, where the head lacks what a decision needs."""
    header: str = ""
    """Matches only requests with this header, whose value is the model."""
    query: str = ""
    """The query parameter whose value is the model."""
    version_header: str = ""
    """The header whose value is the version, if present."""
    unnamed: bool = False
    """The API names no model; the body is read for its other fields."""
    stream: bool = False
    """The answer is always a stream."""
    uploads: bool = False
    """The client may send messages for as long as it likes: the body need not end before the answer."""
    shared: bool = False
    """Much else has this path, too: what the reader can't read is no request of this API."""
    stateful: bool = False
    """The server keeps what the request makes, or the request asks for what it keeps."""
    note: str = ""
    """A note for the documentation."""

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
