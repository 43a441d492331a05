"""Exchanges on sockets, one step at a time: whoever carries them out waits, for one of them or for many at a time.

A generator of steps yields what it waits for. It is gone on with once that has come about; where it has not by
``Wait.until``, ``TimeoutError`` is thrown into it. Closing it closes its sockets. Names are looked up in threads that
nobody waits for, as there is no other way to give up.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from functools import lru_cache
from queue import SimpleQueue
from selectors import EVENT_READ, EVENT_WRITE
from threading import Lock, Thread
from typing import Any, NamedTuple, TypeAlias, TypeVar

from extproc.fetch.answer_reader import AnswerReader
from extproc.fetch.url import Url

READ_SIZE = 64 << 10
"""Bytes of one read. More than a record of TLS has: after a read the library holds nothing back."""
MAX_ADDRESSES = 8
"""Addresses of a name that are tried."""
ADDRESS_PATIENCE = 0.25
"""Seconds after which the next address is tried, where there is one (RFC 8305, Connection Attempt Delay)."""

_Place: TypeAlias = tuple[Any, ...]
"""What ``socket.getaddrinfo`` gives for an address."""
T = TypeVar("T")


class Wait(NamedTuple):
    """What a step waits for."""

    connection: socket.socket
    event: int
    """``EVENT_READ`` or ``EVENT_WRITE`` of ``selectors``."""
    until: float
    """Seconds of ``time.monotonic``."""


Steps: TypeAlias = Generator[Wait, None, T]


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    body: bytes


def run(steps: Steps[T]) -> T:
    """Carries out one exchange, in this thread. Raises what it raises."""
    try:
        wait = next(steps)
        while True:
            poll = select.poll()
            poll.register(wait.connection, select.POLLIN if wait.event == EVENT_READ else select.POLLOUT)
            left = wait.until - time.monotonic()
            wait = next(steps) if left > 0 and poll.poll(left * 1000) else steps.throw(TimeoutError("timed out"))
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()


def get(url: Url, seconds: float, max_body: int) -> Steps[Answer]:
    """The answer to a GET request, read to its end within ``seconds`` in all; a redirect is an answer as others are.
    Raises ``OSError``: ``TimeoutError``, ``BadAnswerError`` where it has more than ``max_body`` bytes or is no HTTP,
    others.
    """
    until = time.monotonic() + seconds
    reader = AnswerReader(url, max_body)
    body = bytearray()
    with (yield from send(url, reader.request, until)) as connection:
        while not reader.ended:
            body += yield from receive(connection, reader, until)
    return Answer(reader.status, bytes(body))


def send(url: Url, request: bytes, until: float) -> Steps[socket.socket]:
    """A connection on which the request has been sent. Raises ``OSError``."""
    connection = yield from _connected(url, until)
    try:
        if url.tls:
            connection = _tls().wrap_socket(connection, server_hostname=url.host, do_handshake_on_connect=False)
            yield from complete(connection.do_handshake, connection, until)
        while request:
            yield Wait(connection, EVENT_WRITE, until)
            with suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                request = request[connection.send(request) :]
    except BaseException:
        connection.close()
        raise
    return connection


def receive(connection: socket.socket, reader: AnswerReader, until: float) -> Steps[bytes]:
    """The next bytes of the body, or none. One read: others that wait have their turn before the next. Raises
    ``OSError``.
    """
    yield Wait(connection, EVENT_READ, until)
    try:
        data = connection.recv(READ_SIZE)
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return b""
    return reader.feed(data)


def _connected(url: Url, until: float) -> Steps[socket.socket]:
    if not url.port:
        return (yield from connect((socket.AF_UNIX, socket.SOCK_STREAM, 0, "", url.host), until))
    places = yield from look_up(url.host, url.port, until)
    for place in places[:-1]:
        with suppress(OSError):
            return (yield from connect(place, min(until, time.monotonic() + ADDRESS_PATIENCE)))
    return (yield from connect(places[-1], until))


def look_up(host: str, port: int, until: float) -> Steps[Sequence[_Place]]:
    """The addresses of a host: one at least, and the first ones of many. Raises ``OSError``; ``LookupTimeoutError``
    where the name is not found in time.
    """
    with suppress(ValueError, OSError):  # an address: nobody is asked
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    lookup, found = _lookups.join(host, port)
    with found:
        try:
            yield Wait(found, EVENT_READ, until)
        except TimeoutError:
            raise LookupTimeoutError("its name was not found in time") from None
    if lookup.error is not None:
        raise lookup.error
    return lookup.places[:MAX_ADDRESSES]


class LookupTimeoutError(TimeoutError):
    """Who knows the addresses of names has not answered; of the server itself that says nothing."""


class _Lookup:
    """A name that is being looked up."""

    def __init__(self, host: str, port: int) -> None:
        self.key = host, port
        self.found, self._end = socket.socketpair()
        """``found`` can be read once it is done."""
        self.places: Sequence[_Place] = ()
        self.error: OSError | None = None

    def carry_out(self) -> None:
        try:
            self.places = socket.getaddrinfo(*self.key, type=socket.SOCK_STREAM)
        except OSError as error:
            self.error = error
        except Exception as error:  # UnicodeError, where a part of the name is too long
            self.error = OSError(f"its name can't be looked up: {error}")

    def close(self) -> None:
        """Tells everybody who waits."""
        self._end.close()
        self.found.close()


class _Lookups:
    """Names that are being looked up, each once however many wait for it, and the threads for that: as many as there
    have been lookups at a time.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._under_way: dict[tuple[str, int], _Lookup] = {}
        self._idle = 0
        self._queue: SimpleQueue[_Lookup] = SimpleQueue()

    def join(self, host: str, port: int) -> tuple[_Lookup, socket.socket]:
        """The lookup of a name, and a socket of the caller's that can be read once it is done. Raises ``OSError``."""
        with self._lock:
            lookup = self._under_way.get((host, port))
            if lookup is None:
                lookup = _Lookup(host, port)
                self._start(lookup)
            return lookup, lookup.found.dup()

    def _start(self, lookup: _Lookup) -> None:
        if self._idle:
            self._idle -= 1
        else:
            try:
                Thread(target=self._carry_out, name="lookup of a name", daemon=True).start()
            except RuntimeError as error:
                lookup.close()
                raise OSError(errno.EAGAIN, str(error)) from None
        self._under_way[lookup.key] = lookup
        self._queue.put(lookup)

    def _carry_out(self) -> None:
        while True:
            lookup = self._queue.get()
            lookup.carry_out()
            with self._lock:
                del self._under_way[lookup.key]
                lookup.close()
                self._idle += 1


_lookups = _Lookups()


def connect(place: _Place, until: float) -> Steps[socket.socket]:
    """A connection to an address. Raises ``OSError``."""
    family, kind, _, _, address = place
    connection = socket.socket(family, kind)
    try:
        connection.setblocking(False)
        code = connection.connect_ex(address)
        if code == errno.EINPROGRESS:
            yield Wait(connection, EVENT_WRITE, until)
            code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    except BaseException:
        connection.close()
        raise
    if code:
        connection.close()
        raise OSError(code, os.strerror(code))
    return connection


def complete(step: Callable[[], object], session: ssl.SSLSocket, until: float) -> Steps[None]:
    """Does what TLS does in several turns: a handshake, an end. Raises ``OSError``."""
    while True:
        try:
            step()
        except ssl.SSLWantReadError:
            yield Wait(session, EVENT_READ, until)
        except ssl.SSLWantWriteError:
            yield Wait(session, EVENT_WRITE, until)
        else:
            return


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """The client's side of TLS, which verifies servers by the system's authorities, as they were at the first use."""
    return ssl.create_default_context()
