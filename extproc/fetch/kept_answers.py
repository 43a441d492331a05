"""Reads the answers to GET requests on a connection that is kept, one after the other. It does no I/O.

A plain answer, with a length or of one chunk, is recognized by its head, and its end by its length, in some
microseconds; any other one, and one that is not what its head promised, is ``AnswerReader``'s to read.
"""

from __future__ import annotations

import re

from extproc.fetch.answer_reader import FREE_PIECES, MAX_HEAD, MIN_PIECE, AnswerReader
from extproc.fetch.steps import Answer
from extproc.fetch.url import Url

_HEAD = re.compile(rb"HTTP/1\.1 200 [ !-~]*\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[ \t!-~]*\r\n)+)\r\n")
_FRAMING = re.compile(rb"(?im)^(content-length|transfer-encoding|connection|upgrade):([^\r]*)\r$")
_LENGTH, _CHUNK = re.compile(rb"[0-9]{1,8}"), re.compile(rb"([0-9a-fA-F]{1,7})\r\n")
_LAST_CHUNK = b"\r\n0\r\n\r\n"


class KeptAnswers:
    """Reads them. After a ``BadAnswerError`` the connection is of no use any more."""

    def __init__(self, url: Url, max_body: int) -> None:
        """``max_body``: bytes of one answer."""
        self._url, self._max_body = url, max_body
        self.request = AnswerReader(url, max_body, keep=True).request
        """The bytes to send for each answer."""
        self.begun = False
        """Whether some of an answer has come, and not all."""
        self.reusable = True
        """Whether another request may follow the last answer."""
        self._raw: bytes | bytearray = b""
        self._body, self._end = slice(0, 0), 0
        self._head, self._framing = b"", (b"", b"")
        """Of the last plain answer, as most of the next ones begin, and the field that says where its body ends."""
        self._pieces_left = 0
        self._reader: AnswerReader | None = None
        self._read = bytearray()

    def feed(self, data: bytes) -> Answer | None:
        """The answer, if the next bytes are the last of it; none of these: the connection has ended. Raises
        ``BadAnswerError``.
        """
        if self._reader is not None:
            return self._read_on(self._reader, data)
        if self.begun:
            self._raw += data
            self._pieces_left -= 1
        else:
            self._begin(data)
        came = len(self._raw)
        if came < self._end and data and self._pieces_left:
            if type(self._raw) is bytes:
                self._raw = bytearray(self._raw)
            return None
        raw, self._raw = self._raw, b""
        if self._end and came == self._end and (self._body.stop == came or raw.endswith(_LAST_CHUNK)):
            self.begun = False
            return Answer(200, bytes(raw[self._body]))
        self._reader = reader = AnswerReader(self._url, self._max_body, keep=True)
        answer = self._read_on(reader, bytes(raw))
        return answer if answer is not None or data or not raw else self._read_on(reader, b"")

    def _begin(self, data: bytes) -> None:
        """Where the answer ends, if it is a plain one."""
        self.begun, self._raw, self._end = True, data, 0
        self._pieces_left = self._max_body // MIN_PIECE + FREE_PIECES
        if not self._head or not data.startswith(self._head):  # most heads are as the last one was
            head = _HEAD.match(data, 0, MAX_HEAD)
            if head is None:
                return
            told = [(name.lower(), value.strip(b" \t").lower()) for name, value in _FRAMING.findall(head[1])]
            framing = [field for field in told if field != (b"connection", b"keep-alive")]
            self._head, self._framing = head[0], framing[0] if len(framing) == 1 else (b"", b"")
        name, value = self._framing
        if name == b"content-length" and _LENGTH.fullmatch(value):
            begin, size, end = len(self._head), int(value), b""
        elif value == b"chunked" and name == b"transfer-encoding" and (line := _CHUNK.match(data, len(self._head))):
            begin, size, end = line.end(), int(line[1], 16), _LAST_CHUNK
        else:
            return
        if size <= self._max_body and (size or not end):
            self._body = slice(begin, begin + size)
            self._end = begin + size + len(end)

    def _read_on(self, reader: AnswerReader, data: bytes) -> Answer | None:
        self._read += reader.feed(data)
        if not reader.ended:
            return None
        body, self._read = bytes(self._read), bytearray()
        self._reader, self.begun, self.reusable = None, False, reader.reusable
        return Answer(reader.status, body)
