"""Fetches from real servers that answer well, slowly, without end, or not at all."""

from __future__ import annotations

import gc
import socket
import ssl
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from select import select
from selectors import EVENT_WRITE
from threading import Event, active_count

import pytest

from extproc.fetch import steps
from extproc.fetch.answer_reader import BadAnswerError
from extproc.fetch.steps import Answer, LookupTimeoutError, Wait, get, run
from extproc.fetch.url import Url, parse
from tests.envoy.tls_servers import Authority
from tests.hostile_server import CHUNKED, OK, HostileServer, dripping, flooding
from tests.waiting import until

WELL = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
SHORT, LONG = 0.1, 30.0
"""Seconds: for what never ends, and for what ends at once."""


def fetch(url: str, seconds: float = LONG, max_body: int = 1 << 16) -> Answer:
    return run(get(parse(url), seconds, max_body))


@pytest.fixture
def silent() -> Iterator[int]:
    """A port whose queue is full: connections there hang."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as server:
        clients = [socket.socket() for _ in range(4)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server.getsockname()[1]
        for client in clients:
            client.close()


def test_a_page_by_address_name_and_unix_socket(tmp_path: Path) -> None:
    with HostileServer(lambda: [WELL]) as server:
        assert fetch(server.url) == (200, b"ok")
        assert fetch(server.url.replace("127.0.0.1", "localhost")) == (200, b"ok")
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        exchange = get(Url(path, 0), LONG, 10)
        next(exchange)
        connection, _ = listening.accept()
        with connection:
            connection.sendall(WELL)
            assert run(exchange) == (200, b"ok")


def test_redirects_are_not_followed() -> None:
    with (
        HostileServer(lambda: [WELL]) as other,
        HostileServer(lambda: [f"HTTP/1.1 302 Found\r\nlocation: {other.url}\r\n\r\n".encode()]) as server,
    ):
        assert fetch(server.url).status == 302
        assert other.asked == 0


@pytest.mark.parametrize(
    "head", [b"", b"HTTP/1.1 200 OK\r\na: ", b"HTTP/1.1 100 Continue\r\n\r\n", OK, CHUNKED + b"ffff\r\n"]
)
def test_all_of_an_answer_has_the_time_of_one(head: bytes) -> None:
    with dripping(head) as server:
        exchange = get(parse(server.url), LONG, 1 << 16)
        waits = [next(exchange)]
        while server.sent < len(head) + 3:
            select([waits[-1].connection], [waits[-1].connection] * (waits[-1].event == EVENT_WRITE), [])
            waits.append(next(exchange))
        assert len({each.until for each in waits}) == 1
        with pytest.raises(TimeoutError):
            exchange.throw(TimeoutError())
        until(lambda: not server.open)


def test_time_is_up_while_an_answer_drips() -> None:
    with dripping() as server:
        with pytest.raises(TimeoutError):
            fetch(server.url, SHORT)
        until(lambda: not server.open)


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (CHUNKED + b"-1\r\n", b"x" * 65536),
        (CHUNKED + b"f" * 19 + b"\r\n", b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", b"x" * 65536),
        (OK, b"x" * 65536),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        (b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 1000),
        (CHUNKED, b"1\r\nx\r\n" * 1000),
        (CHUNKED + b"0\r\n", b"a: b\r\n" * 1000),
    ],
)
def test_what_comes_without_end_is_left_long_before_its_time(head: bytes, piece: bytes) -> None:
    with flooding(head, piece) as server:
        with pytest.raises(BadAnswerError):
            fetch(server.url)
        until(lambda: not server.open)
        assert server.sent < 16 << 20  # what the kernel holds included


def test_those_that_take_no_connection_or_send_nothing(silent: int) -> None:
    with pytest.raises(TimeoutError):
        fetch(f"http://127.0.0.1:{silent}", SHORT)
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(TimeoutError):
        fetch(f"http://127.0.0.1:{mute.getsockname()[1]}", SHORT)
    with pytest.raises(ConnectionRefusedError):
        fetch(f"http://127.0.0.1:{mute_port()}")


def mute_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port: int = gone.getsockname()[1]
    return port


def test_the_next_address_is_tried(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "ADDRESS_PATIENCE", 0.05)
    with HostileServer(lambda: [WELL]) as server:
        port = int(server.address.rpartition(":")[2])
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", p)) for p in (silent, mute_port(), port)]
        real = socket.getaddrinfo

        def getaddrinfo(host: str, *args: int, **more: int) -> object:
            return found if host == "models" and "flags" not in more else real(host, *args, **more)

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        assert fetch("http://models") == (200, b"ok")


def test_names_that_are_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match=r".+"):
        fetch("http://no-such-host.invalid")
    with pytest.raises(OSError, match="its name can't be looked up"):
        fetch(f"http://{'a' * 64}.b")


def test_a_name_is_looked_up_once_however_many_wait_and_give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answered = [], Event()
    real = socket.getaddrinfo

    def slow(host: str, port: int, **more: int) -> object:
        if "flags" in more:
            return real(host, port, **more)
        asked.append(host)
        answered.wait(30)
        return real("127.0.0.1", port, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with HostileServer(lambda: [WELL]) as server:
        url = f"http://models:{server.address.rpartition(':')[2]}"
        for _ in range(3):
            with pytest.raises(LookupTimeoutError):
                fetch(url, 0.01)
        assert asked == ["models"]
        exchange = get(parse(url), LONG, 100)
        found = next(exchange).connection
        answered.set()
        select([found], [], [])
        assert run(exchange) == (200, b"ok")
        assert asked == ["models"]
        until(lambda: not steps._lookups._under_way)
        threads = active_count()
        assert fetch(url) == (200, b"ok")
        assert asked == ["models", "models"]
        until(lambda: active_count() <= threads)  # those of other tests may end meanwhile


def test_no_thread_for_a_lookup_is_an_error_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(steps, "_lookups", steps._Lookups())
    monkeypatch.setattr("threading.Thread.start", none)
    with pytest.raises(BlockingIOError, match="can't start new thread"):
        fetch("http://models")


def test_what_is_given_up_is_closed() -> None:
    with dripping() as server:
        exchange = get(parse(server.url), LONG, 1 << 20)
        waits_for: Wait = next(exchange)
        until(lambda: server.open)
        exchange.close()
        assert waits_for.connection.fileno() == -1
        until(lambda: not server.open)
    gc.collect()  # an unclosed socket is a warning, and so an error


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Authority]:
    made = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.ca))
    steps._tls.cache_clear()
    yield made
    steps._tls.cache_clear()


def server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_tls(authority: Authority) -> None:
    body = b"x" * 300_000
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
    with HostileServer(lambda: [answer, body], tls=server_side(authority.issue("localhost"))) as server:
        assert fetch(server.url.replace("127.0.0.1", "localhost"), max_body=1 << 20) == (200, body)
        with pytest.raises(ssl.SSLCertVerificationError):
            fetch(server.url)
        until(lambda: not server.open)
    with dripping() as plain, pytest.raises(OSError, match=r".+"):
        fetch(plain.url.replace("http", "https"), SHORT)


def test_a_handshake_that_drips() -> None:
    record = b"\x16\x03\x03\x40\x00"  # TLS 1.2, a record of 16 KiB
    with HostileServer(lambda: (piece for piece in (record, *repeat(b"x", 10_000))), drip=True) as server:
        with pytest.raises(TimeoutError):
            fetch(server.url.replace("http", "https"), SHORT)
        until(lambda: not server.open)


def test_time_is_up_even_for_who_is_always_ready() -> None:
    with flooding(OK, b"x" * 65536) as server, pytest.raises(TimeoutError):
        fetch(server.url, SHORT, max_body=1 << 40)
