"""The body of one request: collected, bounded, unpacked, read, changed."""

from __future__ import annotations

from extproc.apis.prompts import has_prompt
from extproc.bodies import json_scan
from extproc.bodies.content_coding import TooLarge, decode
from extproc.bodies.request import BodyEdit, BodyFields, Operation, Reader, RequestFields
from extproc.errors import Rejected, Unreadable
from extproc.headers import Headers
from extproc.policy.picking import PREFIX
from extproc.policy.snapshot import Snapshot

_UNPACKED = "the request body unpacks to more than the {} bytes allowed, or to too much for its size"
SMALL = 2048
"""Bytes up to which pieces are joined as they come: small ones take far more memory than they hold."""
_TOO_LARGE = 1 << 62
"""Stands for every length of more than 18 digits, which are not decoded."""
_MAX_EXCESS, _MAX_BODY = 8 << 20, 63 << 20
"""Bytes beyond a limit that are waited for at most, and bytes of a body that comes in one message at most."""


def rest(limit: int) -> int:
    """Bytes beyond ``limit`` that a body may announce and still be waited for, to be refused then.

    Envoy reads no further once it has answered, and resets a connection on which more has come. A client of HTTP/1 that
    writes all before it reads, as Python's http.client does, would see the reset and not the answer.
    """
    return max(0, min(limit, _MAX_EXCESS, _MAX_BODY - limit))


def bytes_needed(operation: Operation, snapshot: Snapshot) -> int:
    """Bytes of a request's body to read at most; 0 where none are needed."""
    if operation.reader is not None:
        return snapshot.body_limit
    if not snapshot.reads_bodies or (match := snapshot.match(operation.model or "")) is None:
        return 0
    policy = match.policy
    keyed, picking = policy.sticky is not None and policy.sticky.body, policy.picking
    prompt = picking is not None and picking.by == PREFIX and has_prompt(operation)
    return policy.body_limit if keyed or prompt else 0


class Body:
    """Holds ``limit`` bytes at the most, and as many again unpacked where the body has a content coding."""

    __slots__ = ("_chunks", "_headers", "_length", "_limit", "_needed", "_size", "_unpacked", "sizes")

    def __init__(self, headers: Headers, limit: int) -> None:
        """Raises ``Rejected`` (413) where the headers already tell that it is too large, by more than the ``rest``."""
        self.sizes: list[int] = []
        """Bytes of the pieces as they came."""
        self._chunks: list[bytes] = []
        self._size = 0
        self._limit = limit
        self._needed = 0
        self._headers = headers
        self._unpacked: bytes | None = None
        self._length: int | None = None
        length = headers.text("content-length")
        if length.isdecimal():
            size = int(length) if len(length) <= 18 else _TOO_LARGE
            if size > limit and size > limit + rest(limit):
                raise too_large(limit)
            self._length = size

    def add(self, data: bytes) -> None:
        """The next piece. Raises ``Rejected`` (413)."""
        self._size += len(data)
        if self._size > self._limit:
            raise too_large(self._limit)
        self.sizes.append(len(data))
        # Pieces of a few bytes each would take far more memory than they hold.
        if self._chunks and len(self._chunks[-1]) + len(data) <= SMALL:
            self._chunks[-1] += data
        else:
            self._chunks.append(data)

    @property
    def full(self) -> bool:
        """As many bytes as the request's content-length says have come. Envoy sees to it that no more follow."""
        return self._size == self._length

    @property
    def raw(self) -> bytes:
        """What came so far, as it came."""
        if len(self._chunks) != 1:
            self._chunks = [b"".join(self._chunks)]
        return self._chunks[0]

    @property
    def text(self) -> bytes:
        """What came so far, without its content coding; valid after ``read``."""
        return self.raw if self._unpacked is None else self._unpacked

    def read(self, reader: Reader | None, *, complete: bool) -> RequestFields | None:
        """The body's fields; None where more of it is needed. Raises ``Unreadable`` and ``Rejected``."""
        if self._size < self._needed and not complete:
            return None
        early = reader is not None and reader.early
        try:
            if not early and any(codings := self._headers.all("content-encoding")):
                self._unpacked = decode(self.raw, b",".join(codings).decode("latin-1"), self._limit)
            found = BodyFields() if reader is None else reader.read(self.text, self._headers)
        except TooLarge:
            raise Rejected(413, "request_too_large", _UNPACKED.format(self._limit)) from None
        if not isinstance(found, int):
            return found
        if found > self._limit:
            raise too_large(self._limit)
        if complete:
            raise Unreadable("truncated" if self._size else "no_body")
        self._needed = found
        return None

    def rename(self, reader: Reader, model: str) -> Change | None:
        """How the body as it came is changed to name ``model``; None where it names none."""
        splice = reader.rename(self.text, self._headers, model)
        if splice is None:
            return None
        more = len(splice.data) - (splice.end - splice.start)
        if self._unpacked is None:
            # An early reader has seen a beginning only: the client has said how long the whole is.
            whole = self._size if self._length is None else self._length
            return Change(splice, whole + more, unpacked=False)
        length = len(self._unpacked) + more
        return Change(BodyEdit(0, len(self.raw), splice.apply(self._unpacked)), length, unpacked=True)


class Change:
    """A change of a body: what is spliced, how long it is then, and whether its content coding is gone."""

    __slots__ = ("length", "splice", "unpacked")

    def __init__(self, splice: BodyEdit, length: int, *, unpacked: bool) -> None:
        self.splice = splice
        self.length = length
        self.unpacked = unpacked


def too_large(limit: int) -> Rejected:
    """The refusal of a body of more than ``limit`` bytes."""
    return Rejected(413, "request_too_large", f"the request body is larger than the {limit} bytes allowed")


def body_key(snapshot: Snapshot, model: str, body: bytes) -> str | None:
    """The sticky key of a request for ``model``, where its policy has it in the body."""
    match = snapshot.match(model)
    pointer = match.policy.sticky.body if match and match.policy.sticky else ()
    return json_scan.scalar_at(body, pointer) if pointer else None
