"""Connections to many servers at a time, opened only to see whether somebody is there."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Executor, wait
from contextlib import suppress
from functools import lru_cache
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import Any, NamedTuple, TypeAlias

from extproc.policy.target import is_address
from extproc.serve.polling_thread import TIMEOUT

MAX_OPEN = 128
"""Connections that are open at a time: a look at so many servers takes no longer than one at the slowest of them."""

_Addresses: TypeAlias = Sequence[tuple[Any, ...]]
"""What ``socket.getaddrinfo`` gives for a name."""
_Steps: TypeAlias = Generator[tuple[socket.socket, int], None, None]
"""Yields a socket and the event of ``selectors`` for which it waits; ``TimeoutError`` is thrown in when time is up."""
_Attempt: TypeAlias = Generator[tuple[socket.socket, int], None, OSError | None]
"""The same; returns None, or why no connection came about."""


class Port(NamedTuple):
    """Where a server takes connections."""

    endpoint: str
    """``host:port``."""
    tls_name: str = ""
    """Name by which it is called in TLS; empty: no TLS."""


def reach(ports: Iterable[Port], executor: Executor) -> dict[Port, OSError | None]:
    """For each port None, or why no connection came about. ``executor``: looks up names.

    Raises ``OSError`` where this process may open no more files: that says nothing of any server.
    """
    outcomes: dict[Port, OSError | None] = {}
    lookups = {
        port: None if is_address(port.endpoint) else executor.submit(_addresses, port.endpoint) for port in ports
    }
    wait([lookup for lookup in lookups.values() if lookup], TIMEOUT)
    attempts: list[tuple[Port, _Attempt]] = []
    for port, lookup in lookups.items():
        if lookup and not lookup.done():
            lookup.cancel()
            outcomes[port] = TimeoutError("its name was not found in time")
            continue
        try:
            found = lookup.result() if lookup else _addresses(port.endpoint)
        except OSError as error:
            outcomes[port] = error
        else:
            attempts.append((port, _attempt(port, found)))
    return outcomes | _carried_out(attempts)


def _addresses(endpoint: str) -> _Addresses:
    host, _, port = endpoint.rpartition(":")
    return socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)


def _carried_out(attempts: Iterable[tuple[Port, _Attempt]]) -> dict[Port, OSError | None]:
    """The outcome of each attempt, ``MAX_OPEN`` at a time, each address given up after ``TIMEOUT``."""
    outcomes: dict[Port, OSError | None] = {}
    deadlines: dict[Port, float] = {}  # those that are open, the oldest first
    later = iter(attempts)
    with DefaultSelector() as selector:

        def go_on(port: Port, attempt: _Attempt, error: OSError | None = None) -> None:
            try:
                waits_for, event = attempt.throw(error) if error else next(attempt)
            except StopIteration as end:
                outcomes[port] = end.value
            else:
                selector.register(waits_for, event, (port, attempt))
                if error is None:
                    return
            del deadlines[port]
            if port not in outcomes:  # its next address
                deadlines[port] = time.monotonic() + TIMEOUT

        while True:
            while len(deadlines) < MAX_OPEN and (following := next(later, None)):
                deadlines[following[0]] = time.monotonic() + TIMEOUT
                go_on(*following)
            if not deadlines:
                return outcomes
            ready = [key for key, _ in selector.select(next(iter(deadlines.values())) - time.monotonic())]
            now = time.monotonic()
            overdue = [key for key in selector.get_map().values() if deadlines[key.data[0]] <= now]
            for key in ready:
                selector.unregister(key.fileobj)
                go_on(*key.data)
            for key in (key for key in overdue if key not in ready):
                selector.unregister(key.fileobj)
                port, attempt = key.data
                go_on(port, attempt, TimeoutError("timed out"))


def _attempt(port: Port, addresses: _Addresses) -> _Attempt:
    """A connection to the first address that takes one."""
    error: OSError | None = None
    for family, kind, _, _, address in addresses:
        try:
            with socket.socket(family, kind) as connection:
                yield from _connect(connection, address)
                if port.tls_name:
                    yield from _handshake(connection, port.tls_name)
                return None
        except OSError as failed:  # TimeoutError is one
            if failed.errno in (errno.EMFILE, errno.ENFILE):
                raise
            error = failed
    return error


def _connect(connection: socket.socket, address: Any) -> _Steps:
    connection.setblocking(False)
    code = connection.connect_ex(address)
    if code == errno.EINPROGRESS:
        yield connection, EVENT_WRITE
        code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def _handshake(connection: socket.socket, name: str) -> _Steps:
    """TLS with its beginning and its end, and nothing in between; a server that sees none writes that into its log.
    Whatever becomes of it: a server is there.
    """
    wrapped = _any_certificate().wrap_socket
    with suppress(OSError), wrapped(connection, server_hostname=name, do_handshake_on_connect=False) as session:
        for step in (session.do_handshake, session.unwrap):
            while event := _missing_for(step):
                yield session, event


def _missing_for(step: Callable[[], object]) -> int:
    """The event without which ``step`` can't be done; 0 once it is done."""
    try:
        step()
    except ssl.SSLWantReadError:
        return EVENT_READ
    except ssl.SSLWantWriteError:
        return EVENT_WRITE
    return 0


@lru_cache(maxsize=1)
def _any_certificate() -> ssl.SSLContext:
    """The client's side of TLS. Envoy verifies the servers: it has the authorities, and the certificate to show."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.set_alpn_protocols(["h2", "http/1.1"])
    return made
