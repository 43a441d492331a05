"""Reads the answer to one GET request of HTTP/1.1, piece by piece, within bounds. It does no I/O.

What the bytes mean is h11's to say; how many of them there may be is said here. Source: RFC 9112.
"""

from __future__ import annotations

from math import inf

import h11

from extproc.fetch.url import Url

MAX_HEAD = 16 << 10
"""Bytes of a head that has not ended, of a chunk's line, and of trailers."""
MAX_INTERIM_ANSWERS = 8
"""Answers with a status of 1xx before the real one."""
MIN_PIECE = 256
"""Bytes that pieces have on average, chunks and reads: of smaller ones as many are read as of this size, and
``FREE_PIECES``, since each costs time however small it is.
"""
FREE_PIECES = 128
_SHOWN = 40
"""Bytes of what is no HTTP, in messages."""


class BadAnswerError(OSError):
    """What came is no HTTP/1.1, not all of it, or more than was allowed."""


class AnswerReader:
    """Reads one answer."""

    def __init__(self, url: Url, max_body: int | None = None, *, keep: bool = False) -> None:
        """``max_body``: bytes; None: the answer has no end, and whoever takes its pieces holds few of them. ``keep``:
        the connection may be used again.
        """
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        headers = [("host", url.authority), ("accept-encoding", "identity")]
        headers += [] if keep else [("connection", "close")]
        self.request = self._h11.send(h11.Request(method="GET", target=url.target, headers=headers)) or b""
        """The bytes to send."""
        self._h11.send(h11.EndOfMessage())
        self.status = 0
        """0 until the head has come."""
        self.ended = False
        """Whether all has come."""
        self._begin = b""
        self._interim = 0
        self._max_body = inf if max_body is None else max_body
        self._body = 0
        self._pieces_left = self._max_body // MIN_PIECE + FREE_PIECES if max_body is not None else inf

    @property
    def reusable(self) -> bool:
        """Whether the connection may be used again, now that all has come."""
        return self._h11.their_state is h11.DONE and self._h11.trailing_data == (b"", False)

    def feed(self, data: bytes) -> bytes:
        """What of the body is in the next bytes; none of these: the connection has ended. Raises ``BadAnswerError``."""
        found = bytearray()
        self._begin = self._begin or data[:_SHOWN]
        try:
            self._count_piece()
            self._h11.receive_data(data)
            while not self.ended:
                event = self._h11.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    break
                if isinstance(event, h11.Data):
                    found += event.data
                    self._count_piece(len(event.data))
                else:
                    self._note(event)
        except h11.RemoteProtocolError as error:
            raise BadAnswerError(self._what_is_wrong(error, data)) from None
        return bytes(found)

    def _note(self, event: object) -> None:
        """The head, or the end."""
        match event:
            case h11.InformationalResponse():
                self._interim += 1
                if self._interim > MAX_INTERIM_ANSWERS:
                    raise BadAnswerError(f"more than {MAX_INTERIM_ANSWERS} interim answers come first")
            case h11.Response(status_code=status, headers=headers):
                self.status = status
                length = dict(headers).get(b"content-length", b"0")
                if int(length) > self._max_body:
                    raise self._too_much()
            case h11.EndOfMessage():
                self.ended = True

    def _count_piece(self, of_body: int = 0) -> None:
        self._body += of_body
        self._pieces_left -= 1
        if self._body > self._max_body:
            raise self._too_much()
        if self._pieces_left < 0:
            raise BadAnswerError("the answer comes in too many pieces")

    def _too_much(self) -> BadAnswerError:
        return BadAnswerError(f"the answer has more than {int(self._max_body) >> 10} KiB")

    def _what_is_wrong(self, error: h11.RemoteProtocolError, data: bytes) -> str:
        if error.error_status_hint == 431:
            return f"a head, or a line between chunks, has more than {MAX_HEAD >> 10} KiB"
        if self._begin and not self._begin.startswith(b"HTTP/1."):
            return f"what comes is no HTTP/1.1, but {self._begin!r}"
        if not data:
            return "it breaks off" if self._begin else "it ends the connection without an answer"
        return "what comes is no HTTP/1.1"
