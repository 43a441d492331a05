"""The engine on sockets of our own: one thread, one ``epoll``, HTTP/2 and gRPC by the modules beside.

The thread reads what has come on a connection, has it processed, and sends all answers by one write: nothing is handed
to other threads, and no stream costs a system call of its own.
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
from time import perf_counter
from typing import Final

from extproc.grpc_server import listeners
from extproc.grpc_server.call import Call, CallServices
from extproc.grpc_server.client_socket import RECEIVE_SIZE, ClientSocket
from extproc.grpc_server.contract import IDLE_INTERVAL, Factory, LoopLag, Settings
from extproc.grpc_server.status import Abort
from extproc.grpc_server.timers import Timers
from extproc.grpc_server.tls import TlsContexts
from extproc.http2.connection import Connection
from extproc.http2.memory_budget import MemoryBudget
from extproc.http2.request_headers import RequestHead
from extproc.http2.stream import Stream

log = logging.getLogger(__name__)

MAX_TICK_INTERVAL: Final = 1.0
"""Seconds between two checks of what is due by the clock, at most."""
SHUTDOWN_TICK_INTERVAL: Final = 0.05
"""The same during a shutdown."""
GOAWAY_TIMEOUT: Final = 1.0
"""Seconds that a client has to answer the first GOAWAY, and to close an idle connection after the final one."""
MAX_EVENTS: Final = 256
"""Events of one ``epoll_wait``. Its default makes room for thousands anew with each call."""
WORK_PER_TURN: Final = 512
"""Units of ``ConnectionSender.work`` (about a microsecond) between two calls of ``epoll_wait``, shared by the clients
that have some, so that nobody waits much longer than that for clients who send more than we can process.
"""
MIN_SHARE: Final = 16
"""Units of work that a client gets in a turn at least."""
_TRANSIENT_ACCEPT_ERRORS: Final = frozenset((errno.EAGAIN, errno.EINTR, errno.ECONNABORTED, errno.EPROTO, errno.EPERM))
"""Errors of ``accept`` that concern one connection, which is gone."""


class Http2Engine:
    """See ``Engine``."""

    def __init__(self, addresses: Sequence[str], services: Mapping[str, Factory], settings: Settings) -> None:
        self.ports: list[int] = []
        self._addresses = addresses
        self._settings = settings
        self._loop_lag = LoopLag()
        self._timers = Timers(perf_counter)
        factories = {path.encode(): factory for path, factory in services.items()}
        shared = CallServices(factories, self._loop_lag, self._post, self._timers.call_later)
        self.new_stream: Callable[[Connection, int, RequestHead], Stream] = shared.new_call
        """Makes the stream of a request."""
        self._contexts = None if settings.tls is None else TlsContexts(settings.tls)
        self._tick_interval = min(MAX_TICK_INTERVAL, settings.keepalive / 4)
        self._listeners: dict[int, socket.socket] = {}
        self._clients: dict[int, ClientSocket] = {}
        self._backlogged: dict[int, ClientSocket] = {}
        self._posted: deque[tuple[Call, bytes | Abort]] = deque()
        self._grace: float | None = None
        self._shutdown: _Shutdown | None = None
        self._accepting_paused = False
        self._budget = MemoryBudget()
        self._receive_buffer = memoryview(bytearray(RECEIVE_SIZE))
        # Closed when nobody can write to it any more: its number may be another file's then.
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        weakref.finalize(self, os.close, self._wakeup)

    def run(self, started: Callable[[], None]) -> None:
        """See ``Engine``."""
        self._epoll = select.epoll()
        try:
            self._epoll.register(self._wakeup, select.EPOLLIN)
            self._listen()
            started()
            self._loop()
        finally:
            self._close()

    def stop(self, grace: float) -> None:
        """See ``Engine``."""
        self._grace = grace
        self._wake_up()

    def _post(self, call: Call, message: bytes | Abort) -> None:
        """See ``CallServices``."""
        self._posted.append((call, message))
        self._wake_up()

    def _wake_up(self) -> None:
        os.eventfd_write(self._wakeup, 1)

    def _listen(self) -> None:
        for address in self._addresses:
            sockets = listeners.listen(address)
            self._listeners.update({one.fileno(): one for one in sockets})
            self.ports.append(listeners.port(sockets))
        for number in self._listeners:
            self._epoll.register(number, select.EPOLLIN)

    def _loop(self) -> None:
        """Until ``stop``, and then until every stream has ended or the grace is over."""
        poll, lag, clients, handle = self._epoll.poll, self._loop_lag, self._clients, self._handle_events
        timers, due = self._timers, self._timers.pending
        now = last_tick = perf_counter()
        while self._shutdown is None or (clients and now < self._shutdown.deadline):
            before = perf_counter()
            # Without waiting from time to time: where nothing has come then, the loop is idle.
            wait = 0 if self._backlogged or before - lag.last_idle > IDLE_INTERVAL else self._tick_interval
            if due and wait:
                wait = timers.wait(before, wait)
            events = poll(wait, MAX_EVENTS)
            now = perf_counter()
            if not (events or self._backlogged) or now - before > IDLE_INTERVAL:
                lag.last_idle = now
            handle(events, now)
            if due and timers.run(now):
                self._write_all()
            if now - last_tick >= self._tick_interval:
                last_tick = now
                self._tick(now)
            elif self._shutdown is not None:
                self._tick(now)

    def _handle_events(self, events: Sequence[tuple[int, int]], now: float) -> None:
        """One turn: every client with an event or a backlog gets the same share of work. Those with a backlog come
        last, so that others wait for no more than the rest of a turn. Where some frames were more than a share, the
        turn ends sooner, and those who are left come first of them in the next.
        """
        clients, backlogged, self._backlogged = self._clients, self._backlogged, {}
        share = max(MIN_SHARE, WORK_PER_TURN // max(len(events), len(backlogged), 1))
        for number, kinds in events:
            if (client := clients.get(number)) is not None:
                if number not in backlogged and client.handle(kinds, now, share):
                    self._update(client)
            elif number == self._wakeup:
                self._on_wakeup(now)
            elif number in self._listeners:
                self._accept(self._listeners[number], now)
        if backlogged:
            self._handle_backlogged(list(backlogged.values()), now, share)

    def _handle_backlogged(self, backlogged: Sequence[ClientSocket], now: float, share: int) -> None:
        left = WORK_PER_TURN
        for at, client in enumerate(backlogged):
            if left <= 0:
                self._backlogged = {late.fd: late for late in backlogged[at:]} | self._backlogged
                break
            if client.closed:
                continue
            left -= share + min(client.connection.work, 0)
            if client.handle(select.EPOLLIN, now, share):
                self._update(client)
            left += client.connection.work

    def _update(self, client: ClientSocket) -> None:
        """Forgets a client that is closed; else waits for the events it wants, and notes whether it has a backlog."""
        if client.closed:
            if self._clients.pop(client.fd, None) is not None and self._accepting_paused:
                self._resume_accepting()
            return
        wanted = client.wanted_events()
        if wanted != client.registered_events:
            client.registered_events = wanted
            self._epoll.modify(client.fd, wanted)
        if client.has_backlog():
            self._backlogged[client.fd] = client

    def _accept(self, listener: socket.socket, now: float) -> None:
        try:
            sock, _ = listener.accept()
        except OSError as error:
            if error.errno not in _TRANSIENT_ACCEPT_ERRORS:  # as where there is no file descriptor left
                log.error("no new connection can be taken: %s", error.strerror)  # noqa: TRY400 - not ours to mend
                self._pause_accepting()
            return
        try:
            self._add_client(sock, now)
        except Exception:
            log.exception("a new connection could not be served")
            self._clients.pop(sock.fileno(), None)
            sock.close()

    def _add_client(self, sock: socket.socket, now: float) -> None:
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = None if self._contexts is None else self._contexts.current()
        client = ClientSocket(sock, Connection(self.new_stream, self._budget), context, self._receive_buffer, now)
        self._clients[client.fd] = client
        self._epoll.register(client.fd, select.EPOLLIN)
        client.write()
        self._update(client)

    def _pause_accepting(self) -> None:
        """Until the next tick, or until a client is gone."""
        if not self._accepting_paused:
            self._accepting_paused = True
            for number in self._listeners:
                self._epoll.unregister(number)

    def _resume_accepting(self) -> None:
        self._accepting_paused = False
        for number in self._listeners:
            self._epoll.register(number, select.EPOLLIN)

    def _on_wakeup(self, now: float) -> None:
        """``stop`` was called, or ``_post``."""
        os.eventfd_read(self._wakeup)
        if self._grace is not None and self._shutdown is None:
            self._begin_shutdown(now, self._grace)
        connections = set()
        while self._posted:
            call, message = self._posted.popleft()
            call.push(message)
            connections.add(call.connection)
        for client in [client for client in self._clients.values() if client.connection in connections]:
            self._write(client)

    def _write(self, client: ClientSocket) -> None:
        client.write()
        self._update(client)

    def _write_all(self) -> None:
        for client in list(self._clients.values()):
            self._write(client)

    def _begin_shutdown(self, now: float, grace: float) -> None:
        """Accepts no more connections, and tells the clients to open no more streams."""
        self._shutdown = _Shutdown(now, grace)
        self._tick_interval = SHUTDOWN_TICK_INTERVAL
        self._close_listeners()
        for client in list(self._clients.values()):
            client.connection.go_away(final=False)
            client.connection.ping()  # once it is answered, all streams opened before the GOAWAY was read are here
            self._write(client)

    def _tick(self, now: float) -> None:
        """Does what is due by the clock."""
        if self._accepting_paused:
            self._resume_accepting()
        for client in list(self._clients.values()):
            if self._shutdown is not None:
                self._shutdown.advance(client, now)
            elif client.timed_out(now, self._settings.keepalive, self._settings.keepalive_timeout):
                client.close()
            self._write(client)

    def _close_listeners(self) -> None:
        for listener in self._listeners.values():
            listeners.close(listener)  # which takes it from epoll
        self._listeners.clear()

    def _close(self) -> None:
        """Ends every stream and connection; clients are told as far as that goes without waiting."""
        self._close_listeners()
        for client in list(self._clients.values()):
            for stream in list(client.connection.streams.values()):
                if isinstance(stream, Call):
                    stream.shut_down()
            client.connection.go_away(final=True)
            client.write()
            client.close()
        self._clients.clear()
        self._epoll.close()


class _Shutdown:
    """A graceful shutdown in two steps (RFC 9113 §6.8)."""

    def __init__(self, now: float, grace: float) -> None:
        self.deadline = now + grace
        self._began = now

    def advance(self, client: ClientSocket, now: float) -> None:
        """Sends the final GOAWAY once the client has answered the first, or has not for too long; then closes it once
        its streams have ended and it had time to read that.
        """
        connection = client.connection
        if client.last_active is None:
            if not connection.ping_pending or now - self._began > GOAWAY_TIMEOUT:
                connection.go_away(final=True)
                client.last_active = now
        elif connection.streams:
            client.last_active = now
        elif now - client.last_active > GOAWAY_TIMEOUT:
            client.close()
