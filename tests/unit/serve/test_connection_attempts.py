"""Connections that only see whether somebody is there, by real sockets."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from extproc.fetch.steps import LookupTimeoutError, run
from extproc.serve import connection_attempts
from extproc.serve.connection_attempts import Port, attempt, is_of_server
from tests.envoy.tls_servers import Authority
from tests.waiting import until


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def silent() -> Iterator[int]:
    """A port on every loopback address whose queue is full: connections there hang."""
    with socket.create_server(("0.0.0.0", 0), backlog=1) as server:
        port = server.getsockname()[1]
        clients = [socket.socket() for _ in range(4)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        yield port
        for client in clients:
            client.close()


def outcomes(*ports: Port) -> list[OSError | None]:
    return [run(attempt(port)) for port in ports]


def at(server: socket.socket, tls_name: str = "") -> Port:
    return Port(f"127.0.0.1:{server.getsockname()[1]}", tls_name)


def test_who_is_there_and_who_is_not(listening: socket.socket, silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_attempts, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as other:
        gone = at(other)
    found = outcomes(at(listening), gone, Port(f"127.0.0.1:{silent}"), Port("no-such-host.invalid:80"))
    assert [type(one) for one in found[:3]] == [type(None), ConnectionRefusedError, TimeoutError]
    assert isinstance(found[3], OSError)


def test_every_address_of_a_name_is_tried(
    listening: socket.socket, silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_attempts, "TIMEOUT", 0.1)
    no_such_family, port = -5, listening.getsockname()[1]
    places = (no_such_family, port), (socket.AF_INET, silent), (socket.AF_INET, port)
    found = [(family, socket.SOCK_STREAM, 0, "", ("127.0.0.1", number)) for family, number in places]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert outcomes(Port("models:80")) == [None]


@pytest.mark.parametrize(
    ("error", "of_server"),
    [
        *((OSError(code, ""), True) for code in (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH)),
        *((OSError(code, ""), True) for code in (errno.ETIMEDOUT, errno.ECONNRESET, errno.EHOSTDOWN)),
        *((OSError(code, ""), False) for code in (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS)),
        *((OSError(code, ""), False) for code in (errno.ENOMEM, errno.EACCES, errno.EPERM, errno.EAGAIN)),
        (TimeoutError("timed out"), True),
        (LookupTimeoutError("its name was not found in time"), False),
        *((socket.gaierror(code, ""), True) for code in (socket.EAI_NONAME, socket.EAI_NODATA)),
        *((socket.gaierror(code, ""), False) for code in (socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM)),
    ],
)
def test_whose_error_it_is(error: OSError, of_server: bool) -> None:
    assert is_of_server(error) is of_server


def test_without_files_left_nothing_is_said_of_any_server(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", none_left)
    (error,) = outcomes(at(listening))
    assert error is not None
    assert not is_of_server(error)


class TlsServer(Thread):
    """Takes connections one by one, and notes how each ended."""

    def __init__(self, listening: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(daemon=True)
        self._listening, self._context = listening, context
        self.seen: list[str] = []
        self.start()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:  # closed
                return
            try:
                with self._context.wrap_socket(connection, server_side=True) as session:
                    chosen = session.selected_alpn_protocol()
                    self.seen.append(f"{chosen} {session.recv(1)!r}")  # nothing, by the client's close_notify
                    session.unwrap()
            except OSError as error:
                self.seen.append(type(error).__name__)


@pytest.mark.parametrize(
    ("tls_name", "versions", "expected"),
    [
        ("models", ssl.TLSVersion.TLSv1_3, "h2 b''"),
        ("127.0.0.1", ssl.TLSVersion.TLSv1_2, "h2 b''"),
        ("", ssl.TLSVersion.TLSv1_3, "SSLEOFError"),
    ],
)
def test_servers_of_tls_see_a_whole_connection(
    tls_name: str, versions: ssl.TLSVersion, expected: str, tmp_path: Path, listening: socket.socket
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = versions
    context.load_cert_chain(Authority(tmp_path).issue("somebody-else"))
    context.set_alpn_protocols(["h2"])
    server = TlsServer(listening, context)
    assert outcomes(at(listening, tls_name)) == outcomes(at(listening, tls_name)) == [None]
    until(lambda: len(server.seen) == 2)
    assert server.seen == [expected] * 2


def test_a_server_is_there_whatever_it_says_of_tls(listening: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # without a certificate
    server = TlsServer(listening, context)
    assert outcomes(at(listening, "models")) == [None]
    until(lambda: len(server.seen) == 1)
    monkeypatch.setattr(connection_attempts, "TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        assert outcomes(at(mute, "models")) == [None]
