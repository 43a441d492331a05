"""A client of the admin port of running processors, over TCP or a unix socket."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from urllib.parse import urlencode, urlsplit

import msgspec

from extproc.errors import SetupError, cause
from extproc.fetch.answer_reader import AnswerReader
from extproc.fetch.steps import get, receive, run, send
from extproc.fetch.url import Url
from extproc.telemetry.tap import HEARTBEAT_INTERVAL, TapBuffer, TapFilter

DEFAULT_PORT = 9090
"""The port of an address that names none."""
TIMEOUT = 3.0
"""Seconds within which a processor must have answered."""
_MAX_REASON_BYTES = 500
"""Bytes of an answer that is no success, in a message."""
_MAX_BODY_BYTES, _MAX_LINE_BYTES = 64 << 20, 1 << 20
"""Bytes of a body, and of a line of a stream."""
_PATIENCE = max(TIMEOUT, 3 * HEARTBEAT_INTERVAL)
"""Seconds within which the next piece of a stream must come."""
_RETRY_INTERVAL = 1.0
"""Seconds between two attempts to tap a processor."""


class Unreachable(Exception):  # noqa: N818
    """A processor does not answer, or what answers is not one."""


class Replica(msgspec.Struct, frozen=True):
    """A running processor: where its admin port is."""

    name: str
    """For messages: the address as it was given, or the IP address and, in brackets, the name that it is from."""
    host: str
    """A host name or an IP address; for a unix socket, its path."""
    port: int = 0
    """0: a unix socket."""
    authority: str = "localhost"
    """The ``host`` header of requests."""

    def get(self, path: str, timeout: float = TIMEOUT) -> bytes:
        """The body of an answer with status 200. Raises ``Unreachable`` where there is none."""
        try:
            status, body = run(get(self._url(path), timeout, _MAX_BODY_BYTES))
        except OSError as error:
            raise Unreachable(f"{self.name} does not answer: {_reason(error)}") from None
        if status != 200:
            text = body[:_MAX_REASON_BYTES].decode(errors="replace").strip()
            said = f": {text}" if text else ""
            raise Unreachable(f"{self.name} answers {path.partition('?')[0]} with status {status}{said}")
        return body

    @contextmanager
    def lines(self, path: str) -> Iterator[Iterator[bytes]]:
        """Lines of an endless response; an empty one is a heartbeat. Raises ``Unreachable``, also while iterating."""
        url = self._url(path)
        reader = AnswerReader(url)
        until = time.monotonic() + TIMEOUT
        try:
            connection = run(send(url, reader.request, until))
        except OSError as error:
            raise Unreachable(f"{self.name} does not answer: {_reason(error)}") from None
        with connection:
            try:
                begun = b""
                while not reader.status:
                    begun = run(receive(connection, reader, until))
            except OSError as error:
                raise Unreachable(f"{self.name} does not answer: {_reason(error)}") from None
            if reader.status != 200:
                text = begun[:_MAX_REASON_BYTES].decode(errors="replace").strip()
                raise Unreachable(f"{self.name} answers with status {reader.status}: {text}")
            yield _lines(self, connection, reader, begun)

    def _url(self, path: str) -> Url:
        return Url(self.host, self.port, path, authority=self.authority)


def _lines(replica: Replica, connection: socket.socket, reader: AnswerReader, begun: bytes) -> Iterator[bytes]:
    """``begun``: what has come of the body already."""
    rest = bytearray(begun)
    try:
        while True:
            *lines, rest = rest.split(b"\n")
            yield from (bytes(line) + b"\n" for line in lines)
            if reader.ended:
                break
            if len(rest) > _MAX_LINE_BYTES:
                raise Unreachable(f"{replica.name} sends a line of more than {_MAX_LINE_BYTES >> 10} KiB")
            rest += run(receive(connection, reader, time.monotonic() + _PATIENCE))
    except OSError as error:
        raise Unreachable(f"{replica.name} has gone: {_reason(error)}") from None
    raise Unreachable(f"{replica.name} has ended")


class ReplicaTaps:
    """OpenTaps replicas into one buffer, each in a thread of its own, which reconnects where a replica goes away."""

    def __init__(self, wanted: TapFilter) -> None:
        self.buffer = TapBuffer()
        self.problems: dict[Replica, str] = {}
        """For each replica that can't be tapped at the moment, why."""
        self._path = "/tap?" + urlencode(wanted.query())
        self._threads: dict[Replica, Event] = {}

    def follow(self, replicas: Sequence[Replica]) -> None:
        """OpenTaps these from now on, and no others."""
        for replica in [known for known in self._threads if known not in replicas]:
            self._threads.pop(replica).set()
            self.problems.pop(replica, None)
        for replica in replicas:
            if replica not in self._threads:
                ended = self._threads[replica] = Event()
                Thread(target=self._tap, args=(replica, ended), name=f"tap of {replica.name}", daemon=True).start()

    def _tap(self, replica: Replica, ended: Event) -> None:
        while not ended.is_set():
            try:
                with replica.lines(self._path) as lines:
                    self.problems.pop(replica, None)
                    for line in lines:
                        if ended.is_set():
                            return
                        if line.strip():
                            self.buffer.put(line)
            except Unreachable as problem:
                self.problems[replica] = str(problem)
            ended.wait(_RETRY_INTERVAL)


def resolve_replicas(sources: Sequence[str]) -> list[Replica]:
    """The processors at ``sources``: URLs (``http://host:9090``), ``host:port`` or ``unix:///path``.

    A name that stands for several addresses, as that of a headless Service does, is as many processors. Raises
    ``SetupError`` where an address can't be understood, and ``Unreachable`` where a name is not known.
    """
    found: list[Replica] = []
    for source in sources:
        found += _resolve(source)
    return list(dict.fromkeys(found))


def _resolve(source: str) -> list[Replica]:
    if source.startswith("unix:///"):
        return [Replica(source, source.removeprefix("unix://"))]
    try:
        parts = urlsplit(source if "://" in source else f"http://{source}")
        host, port = parts.hostname, parts.port or DEFAULT_PORT
    except ValueError:
        host, port, parts = None, 0, urlsplit("")
    only_a_port = source.isdecimal()
    if not host or not host.isascii() or only_a_port or parts.scheme != "http" or parts.path not in ("", "/"):
        raise SetupError(f"{source!r} is no admin port; write http://host:port, host:port or unix:///path")
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unreachable(f"{authority} is not known: {error.strerror}") from None
    # A pod with both an IPv4 and an IPv6 address is one processor: only the first family is used.
    family = addresses[0][0]
    ips = list(dict.fromkeys(str(address[4][0]) for address in addresses if address[0] == family))
    if len(ips) == 1 or all(ipaddress.ip_address(ip.partition("%")[0]).is_loopback for ip in ips):
        return [Replica(authority, host, port, authority)]
    return [Replica(f"{ip} ({authority})", ip, port, authority) for ip in ips]


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "it takes too long"
    return cause(error)
