"""Connections that only see whether somebody is there, by real sockets."""

from __future__ import annotations

import errno
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread

import pytest

from extproc.serve import connection_attempts
from extproc.serve.connection_attempts import Port, reach
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
    with ThreadPoolExecutor(2) as executor:
        found = reach(ports, executor)
    return [found[port] for port in ports]


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


def test_a_name_that_is_not_found_in_time_holds_up_nobody(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_attempts, "TIMEOUT", 0.05)
    real, answered = socket.getaddrinfo, Event()

    def slow(host: str, *args: object, **more: object) -> object:
        if host == "models":
            answered.wait(10)
        return real(host, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with ThreadPoolExecutor(2) as executor:
        found = reach([Port("models:80"), at(listening)], executor)
        answered.set()
    assert [type(one) for one in found.values()] == [TimeoutError, type(None)]


def test_many_that_do_not_answer_take_no_longer_than_one(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_attempts, "TIMEOUT", 0.3)
    took = []
    for count in (1, 100):
        begun = time.monotonic()
        found = outcomes(*(Port(f"127.0.1.{n}:{silent}") for n in range(1, count + 1)))
        took.append(time.monotonic() - begun)
        assert {type(one) for one in found} == {TimeoutError}
    assert took[1] < 5 * took[0]


def test_more_than_may_be_open_take_turns(
    silent: int, listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_attempts, "TIMEOUT", 0.05)
    monkeypatch.setattr(connection_attempts, "MAX_OPEN", 2)
    ports = [Port(f"127.0.1.{n}:{silent}") for n in range(1, 6)]
    found = outcomes(*ports, at(listening))
    assert [type(one) for one in found] == [TimeoutError] * 5 + [type(None)]


def test_without_files_left_nothing_is_said_of_any_server(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", none_left)
    with pytest.raises(OSError, match="Too many open files"):
        outcomes(at(listening))


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
