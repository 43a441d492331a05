"""Asks for one page again and again on a connection that is kept, in steps: whoever takes them waits for many pages.

A connection that the server has ended meanwhile is opened anew, and so is one that came to a bad end.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from math import inf
from selectors import EVENT_READ

from extproc.fetch.kept_answers import KeptAnswers
from extproc.fetch.steps import Answer, Steps, Wait, send
from extproc.fetch.url import Url

BUFFER_SIZE = 256 << 10
"""Bytes of one read at most."""
_MAX_READS = 4
"""Reads of one step: others that wait have their turn then."""
_AGAIN = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class KeptConnection:
    """After each call ``waits_for`` says what the next ``step`` waits for. An ``OSError`` ends the question, and closes
    the connection.
    """

    def __init__(self, url: Url, max_body: int, buffer: bytearray) -> None:
        """``max_body``: bytes of an answer. ``buffer``: of ``BUFFER_SIZE``, for all connections of a thread: making one
        for each read costs more than reading.
        """
        self._url, self._max_body, self._buffer = url, max_body, buffer
        self.waits_for: Wait | None = None
        """None: for nothing. Also between two questions: the server may end the connection."""
        self.asking = False
        self._answers = KeptAnswers(url, max_body)
        self._steps: Steps[socket.socket] | None = None
        self._connection: socket.socket | None = None
        self._used = False
        self._until = inf

    @property
    def connecting(self) -> bool:
        """Whether the next step may end what ``waits_for`` names, which must not be watched then."""
        return self._steps is not None

    def ask(self, until: float) -> None:
        """Asks; the answer must have come ``until`` then, of ``time.monotonic``. Raises ``OSError``."""
        self.asking, self._until = True, until
        if self._connection is None:
            self._open()
            return
        try:
            whole = self._connection.send(self._answers.request) == len(self._answers.request)
        except OSError:
            whole = False
        if whole:
            self.waits_for = Wait(self._connection, EVENT_READ, until)
        else:
            self._open()

    def step(self, error: TimeoutError | None = None) -> Answer | None:
        """Goes on; the answer, where all of it has come. ``error``: what it waits for has not come about in time.
        Raises ``OSError``.
        """
        try:
            if self._steps is not None:
                self._connect(self._steps, error)
                return None
            return self._read(error)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the connection; the next question opens another one."""
        for each in (self._steps, self._connection):
            if each is not None:
                with suppress(OSError):
                    each.close()
        self._steps = self._connection = self.waits_for = None
        self.asking = False

    def _open(self) -> None:
        self.close()
        self.asking, self._used = True, False
        self._answers = KeptAnswers(self._url, self._max_body)
        self._steps = send(self._url, self._answers.request, self._until)
        self.step()

    def _connect(self, steps: Steps[socket.socket], error: TimeoutError | None) -> None:
        try:
            self.waits_for = next(steps) if error is None else steps.throw(error)
        except StopIteration as end:
            self._steps, self._connection = None, end.value
            self.waits_for = Wait(end.value, EVENT_READ, self._until)

    def _read(self, error: TimeoutError | None) -> Answer | None:
        if error is not None:
            raise error
        for _ in range(_MAX_READS):
            if self._connection is None:
                break
            try:
                data = bytes(memoryview(self._buffer)[: self._connection.recv_into(self._buffer)])
            except _AGAIN:
                break
            except OSError:
                if not self._used or self._answers.begun:
                    raise
                data = b""
            if not self.asking:
                self.close()
            elif not data and self._used and not self._answers.begun:
                self._open()
            elif (answer := self._answers.feed(data)) is not None:
                self._rest()
                return answer
        return None

    def _rest(self) -> None:
        """Until the next question."""
        self.asking, self._used = False, True
        if self._connection is not None and self._answers.reusable:
            self.waits_for = Wait(self._connection, EVENT_READ, inf)
        else:
            self.close()
