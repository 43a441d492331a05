"""A running processor, reached by its admin port: over TCP or a unix socket."""

from __future__ import annotations

import http.client
import ipaddress
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from urllib.parse import urlencode, urlsplit

import msgspec

from extproc.errors import SetupError
from extproc.telemetry.tap import HEARTBEAT_INTERVAL, TapBuffer, TapFilter

PORT = 9090
"""Where an address names none."""
PATIENCE = 3.0
"""Seconds that a processor has to answer."""
_LARGEST, _LONGEST = 64 << 20, 1 << 20
"""Bytes of an answer, and of a line of one that goes on; beyond that it is cut, and then can't be understood."""
_AGAIN = 1.0
"""Seconds between two attempts to tap one."""


class Unreachable(Exception):  # noqa: N818
    """It does not answer, or not as a processor does."""


class Replica(msgspec.Struct, frozen=True):
    """One admin port."""

    name: str
    """For people: as it was given, or with the address that it stands for."""
    host: str
    """A name or an IP address; of a unix socket, its path."""
    port: int = 0
    """0: a unix socket."""
    authority: str = "localhost"
    """What requests say in ``host``."""

    def get(self, path: str, timeout: float = PATIENCE) -> bytes:
        """The body of an answer with status 200. Raises ``Unreachable`` where there is none."""
        connection = _Connection(self, timeout)
        try:
            connection.request("GET", path, headers={"host": self.authority})
            response = connection.getresponse()
            body = response.read(_LARGEST)
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{self.name} does not answer: {_reason(error)}") from None
        finally:
            connection.close()
        if response.status != 200:
            raise Unreachable(f"{self.name} answers {path.partition('?')[0]} with status {response.status}")
        if response.length:
            raise Unreachable(f"{self.name} breaks off, or answers with too much")
        return body

    @contextmanager
    def lines(self, path: str) -> Iterator[Iterator[bytes]]:
        """Lines of an answer that goes on and on; an empty one is a sign of life. All of it raises ``Unreachable``."""
        connection = _Connection(self, max(PATIENCE, 3 * HEARTBEAT_INTERVAL))
        try:
            try:
                connection.request("GET", path, headers={"host": self.authority})
                response = connection.getresponse()
                if response.status != 200:
                    text = response.read(500).decode(errors="replace").strip()
                    raise Unreachable(f"{self.name}: {text}")
            except (OSError, http.client.HTTPException) as error:
                raise Unreachable(f"{self.name} does not answer: {_reason(error)}") from None
            yield _lines(self, response)
        finally:
            connection.close()


def _lines(replica: Replica, response: http.client.HTTPResponse) -> Iterator[bytes]:
    try:
        while line := response.readline(_LONGEST):
            yield line
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Unreachable(f"{replica.name} has gone: {_reason(error)}") from None
    raise Unreachable(f"{replica.name} has ended")


class ReplicaTaps:
    """Taps replicas into one buffer, each in a thread of its own, again and again where one goes away."""

    def __init__(self, wanted: TapFilter) -> None:
        self.buffer = TapBuffer()
        self.problems: dict[Replica, str] = {}
        """Why those that can't be tapped at the moment can't."""
        self._path = "/tap?" + urlencode(wanted.query())
        self._threads: dict[Replica, Event] = {}

    def follow(self, replicas: Sequence[Replica]) -> None:
        """Taps these from now on, and no others."""
        for replica in [known for known in self._threads if known not in replicas]:
            self._threads.pop(replica).set()
            self.problems.pop(replica, None)
        for replica in replicas:
            if replica not in self._threads:
                over = self._threads[replica] = Event()
                Thread(target=self._tap, args=(replica, over), name=f"tap of {replica.name}", daemon=True).start()

    def _tap(self, replica: Replica, over: Event) -> None:
        while not over.is_set():
            try:
                with replica.lines(self._path) as lines:
                    self.problems.pop(replica, None)
                    for line in lines:
                        if over.is_set():
                            return
                        if line.strip():
                            self.buffer.put(line)
            except Unreachable as problem:
                self.problems[replica] = str(problem)
            over.wait(_AGAIN)


def replicas(sources: Sequence[str]) -> list[Replica]:
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
        host, port = parts.hostname, parts.port or PORT
    except ValueError:
        host, port, parts = None, 0, urlsplit("")
    if not host or parts.scheme != "http" or parts.path not in ("", "/"):
        raise SetupError(f"{source!r} is no admin port; write http://host:port, host:port or unix:///path")
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unreachable(f"{authority} is not known: {error.strerror}") from None
    # A pod with both kinds of addresses is one processor: those of the first kind will do.
    family = addresses[0][0]
    ips = list(dict.fromkeys(str(address[4][0]) for address in addresses if address[0] == family))
    if len(ips) == 1 or all(ipaddress.ip_address(ip.partition("%")[0]).is_loopback for ip in ips):
        return [Replica(authority, host, port, authority)]
    return [Replica(f"{ip} ({authority})", ip, port, authority) for ip in ips]


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "it takes too long"
    return (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__


class _Connection(http.client.HTTPConnection):
    def __init__(self, replica: Replica, timeout: float) -> None:
        super().__init__(replica.host if replica.port else "localhost", replica.port or None, timeout=timeout)
        self._path = "" if replica.port else replica.host
        self._patience = timeout

    def connect(self) -> None:
        if not self._path:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self._patience)
        self.sock.connect(self._path)
