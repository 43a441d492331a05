"""The engine on sockets of our own: one thread, one ``epoll``, HTTP/2 and gRPC by the modules beside.

The thread reads what has come on a connection, has it answered, and writes all answers at
once: nothing is handed to other threads, and no stream costs a system call of its own.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Final

from extproc.grpc_server import listeners
from extproc.grpc_server.call import Call, Service
from extproc.grpc_server.client_socket import ClientSocket
from extproc.grpc_server.contract import PAUSE, Abort, Factory, Pulse, Settings
from extproc.grpc_server.tls_contexts import TlsContexts
from extproc.http2.connection import Connection
from extproc.http2.flood_limits import Ledger

log = logging.getLogger(__name__)

_TICK: Final = 1.0
"""Seconds between two looks at the clock, at most."""
_FAREWELL: Final = 1.0
"""Seconds that a client has to hear that we leave, and to close an idle connection."""
_HASTE: Final = 0.05
"""The tick while we leave."""
_EVENTS: Final = 256
"""Sockets attended to between two looks: room for thousands, which is the default, is made anew for each look."""
_READ = select.EPOLLIN
_TURN: Final = 512
"""Units of work (``Carrier.work``: about a microsecond) between two looks, shared by the connections that have some; so
nobody waits much longer than that for those who send more than we can do.
"""
_SHARE: Final = 16
"""Of a connection at least."""
_PASSING: Final = frozenset((errno.EAGAIN, errno.EINTR, errno.ECONNABORTED, errno.EPROTO, errno.EPERM))
"""Errors of one connection that was to be accepted, and is gone."""


class Http2Engine:
    """See ``Engine``."""

    def __init__(self, addresses: Sequence[str], services: Mapping[str, Factory], settings: Settings) -> None:
        self.ports: list[int] = []
        self._addresses = addresses
        self._settings = settings
        self._pulse = Pulse()
        factories = {path.encode(): factory for path, factory in services.items()}
        self._service = Service(factories, self._pulse, self._post)
        self._contexts = None if settings.tls is None else TlsContexts(settings.tls)
        self._tick = min(_TICK, settings.keepalive / 4)
        self._listeners: dict[int, socket.socket] = {}
        self._links: dict[int, ClientSocket] = {}
        self._pushes: deque[tuple[Call, bytes | Abort]] = deque()  # of other threads
        self._grace: float | None = None
        self._leaving: _Leaving | None = None
        self._deaf = False  # there was no room for more connections
        self._behind: dict[int, ClientSocket] = {}
        self._ledger = Ledger()
        # Closed when nobody can write to it any more: its number may be another file's then.
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        weakref.finalize(self, os.close, self._wake)

    def run(self, started: Callable[[], None]) -> None:
        """See ``Engine``."""
        self._epoll = select.epoll()
        try:
            self._epoll.register(self._wake, _READ)
            self._listen()
            started()
            self._serve()
        finally:
            self._close()

    def stop(self, grace: float) -> None:
        """See ``Engine``."""
        self._grace = grace
        self._rouse()

    def _post(self, call: Call, message: bytes | Abort) -> None:
        """Any thread's."""
        self._pushes.append((call, message))
        self._rouse()

    def _rouse(self) -> None:
        os.eventfd_write(self._wake, 1)

    def _listen(self) -> None:
        for address in self._addresses:
            sockets = listeners.listen(address)
            self._listeners.update({one.fileno(): one for one in sockets})
            self.ports.append(listeners.port(sockets))
        for number in self._listeners:
            self._epoll.register(number, _READ)

    def _serve(self) -> None:
        """Until ``stop``, and then until every stream has ended or the grace is over."""
        poll, pulse, links, serve = self._epoll.poll, self._pulse, self._links, self._turn
        now = looked = perf_counter()
        while self._leaving is None or (links and now < self._leaving.ends):
            before = perf_counter()
            # Every now and then a look that does not wait: nothing there means that we keep up.
            found = poll(0 if self._behind or before - pulse.idle > PAUSE else self._tick, _EVENTS)
            now = perf_counter()
            if not (found or self._behind) or now - before > PAUSE:
                pulse.idle = now
            serve(found, now)
            if now - looked >= self._tick:
                looked = now
                self._look(now)
            elif self._leaving is not None:
                self._look(now)

    def _turn(self, found: Sequence[tuple[int, int]], now: float) -> None:
        """Whoever has something to say, or is behind with what it said, gets the same share: those who are behind last,
        so that others wait for no more than the rest of a turn.
        """
        links, behind, self._behind = self._links, self._behind, {}
        share = max(_SHARE, _TURN // max(len(found), len(behind), 1))
        for number, events in found:
            if (link := links.get(number)) is not None:
                if number not in behind and link.attend(events, now, share):
                    self._settle(link)
            elif number == self._wake:
                self._roused(now)
            elif number in self._listeners:
                self._accept(self._listeners[number], now)
        for link in behind.values():
            if not link.closed and link.attend(_READ, now, share):
                self._settle(link)

    def _settle(self, link: ClientSocket) -> None:
        """Waits for what the link waits for; what is left of its work is for the next turn."""
        if link.closed:
            if self._links.pop(link.number, None) is not None and self._deaf:
                self._resume_accepting()
            return
        wanted = link.wants()
        if wanted != link.awaits:
            link.awaits = wanted
            self._epoll.modify(link.number, wanted)
        if link.behind():
            self._behind[link.number] = link

    def _accept(self, listener: socket.socket, now: float) -> None:
        try:
            sock, _ = listener.accept()
        except OSError as error:
            if error.errno not in _PASSING:  # as where there is no file descriptor left
                log.error("no new connection can be taken: %s", error.strerror)  # noqa: TRY400 - not ours to mend
                self._pause_accepting()
            return
        try:
            self._welcome(sock, now)
        except Exception:
            log.exception("a new connection could not be served")
            self._links.pop(sock.fileno(), None)
            sock.close()

    def _welcome(self, sock: socket.socket, now: float) -> None:
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(partial(Call, service=self._service), self._ledger)
        link = ClientSocket(sock, connection, None if self._contexts is None else self._contexts.current(), now)
        self._links[link.number] = link
        self._epoll.register(link.number, _READ)
        link.write()
        self._settle(link)

    def _pause_accepting(self) -> None:
        """No room for connections, for a while."""
        if not self._deaf:
            self._deaf = True
            for number in self._listeners:
                self._epoll.unregister(number)

    def _resume_accepting(self) -> None:
        """There may be room for connections again."""
        self._deaf = False
        for number in self._listeners:
            self._epoll.register(number, _READ)

    def _roused(self, now: float) -> None:
        """By ``stop``, or by messages of other threads."""
        os.eventfd_read(self._wake)
        if self._grace is not None and self._leaving is None:
            self._leave(now, self._grace)
        touched = set()
        while self._pushes:
            call, message = self._pushes.popleft()
            call.pushed(message)
            touched.add(call.connection)
        for link in [link for link in self._links.values() if link.connection in touched]:
            self._write(link)

    def _write(self, link: ClientSocket) -> None:
        link.write()
        self._settle(link)

    def _leave(self, now: float, grace: float) -> None:
        """Nobody new; those who are here learn of it, and finish."""
        self._leaving = _Leaving(now, grace)
        self._tick = _HASTE
        self._shut()
        for link in list(self._links.values()):
            link.connection.leave(last=False)
            link.connection.ping()  # once it is answered, whatever was opened in ignorance is here
            self._write(link)

    def _look(self, now: float) -> None:
        """What is due by the clock."""
        if self._deaf:
            self._resume_accepting()
        for link in list(self._links.values()):
            if self._leaving is not None:
                self._leaving.part(link, now)
            elif link.overdue(now, self._settings.keepalive, self._settings.keepalive_timeout):
                link.close()
            self._write(link)

    def _shut(self) -> None:
        for listener in self._listeners.values():
            listeners.close(listener)  # which takes it from epoll
        self._listeners.clear()

    def _close(self) -> None:
        """Whatever is left ends now, and is told so as far as that goes without waiting."""
        self._shut()
        for link in list(self._links.values()):
            for stream in list(link.connection.streams.values()):
                if isinstance(stream, Call):
                    stream.cut()
            link.connection.leave(last=True)
            link.write()
            link.close()
        self._links.clear()
        self._epoll.close()


class _Leaving:
    """How clients are parted with (RFC 9113 §6.8)."""

    def __init__(self, now: float, grace: float) -> None:
        self.ends = now + grace
        self._began = now

    def part(self, link: ClientSocket, now: float) -> None:
        """The last word, once the client has heard the first; then the end, once its streams have ended and it had time
        to hear the last.
        """
        connection = link.connection
        if link.parted is None:
            if not connection.awaited or now - self._began > _FAREWELL:
                connection.leave(last=True)
                link.parted = now
        elif connection.streams:
            link.parted = now
        elif now - link.parted > _FAREWELL:
            link.close()
