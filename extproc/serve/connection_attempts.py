"""A connection that is opened only to see whether somebody is there."""

from __future__ import annotations

import errno
import socket
import ssl
import time
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

from extproc.fetch.steps import Steps, complete, connect, look_up
from extproc.serve.polling_thread import TIMEOUT

UNREACHABLE = frozenset(
    {errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT}
)
"""Errors that say something of a server. Others are this machine's: too many open files, no free port, no memory."""


class Port(NamedTuple):
    """Where a server takes connections."""

    endpoint: str
    """``host:port``."""
    tls_name: str = ""
    """Name by which it is called in TLS; empty: no TLS."""


def attempt(port: Port) -> Steps[OSError | None]:
    """A connection to the first address that takes one: None, or why none came about. A name, each address and TLS
    have ``TIMEOUT`` each.
    """
    host, _, number = port.endpoint.rpartition(":")
    error: OSError | None = None
    try:
        for place in (yield from look_up(host.strip("[]"), int(number), _until())):
            try:
                with (yield from connect(place, _until())) as connection:
                    if port.tls_name:
                        yield from _handshake(connection, port.tls_name)
                    return None
            except OSError as failed:  # TimeoutError is one
                error = failed
    except OSError as failed:
        error = failed
    return error


def _until() -> float:
    return time.monotonic() + TIMEOUT


def is_of_server(error: OSError) -> bool:
    """Whether an error of ``attempt`` tells that the server is not there, and not what this machine is short of."""
    if isinstance(error, socket.gaierror):
        return error.errno in (socket.EAI_NONAME, socket.EAI_NODATA)
    return error.errno in UNREACHABLE or type(error) is TimeoutError


def _handshake(connection: socket.socket, name: str) -> Steps[None]:
    """TLS with its beginning and its end, and nothing in between; a server that sees none writes that into its log.
    Whatever becomes of it: a server is there.
    """
    until = _until()
    wrapped = _any_certificate().wrap_socket
    with suppress(OSError), wrapped(connection, server_hostname=name, do_handshake_on_connect=False) as session:
        yield from complete(session.do_handshake, session, until)
        yield from complete(session.unwrap, session, until)


@lru_cache(maxsize=1)
def _any_certificate() -> ssl.SSLContext:
    """The client's side of TLS. Envoy verifies the servers: it has the authorities, and the certificate to show."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.set_alpn_protocols(["h2", "http/1.1"])
    return made
