"""One client's socket: by itself on a pair of sockets, and in a running engine with clients that are slow or wrong."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from select import EPOLLIN, EPOLLOUT

import msgspec
import pytest
import trustme

from extproc.grpc_server import Settings
from extproc.grpc_server.client_socket import RECEIVE_SIZE, ClientSocket
from extproc.grpc_server.tls import Certificates
from extproc.http2.connection import UNLIMITED, Connection
from extproc.http2.stream import Stream
from tests.grpc.running import running
from tests.http2.clients import answered, client, ended, heard
from tests.http2.served import Noted, Served
from tests.http2.wire import HELLO, PATH, Answers, data, errors, frames, headers, message, raw
from tests.waiting import until

HASTY = Settings(keepalive=0.2, keepalive_timeout=0.3)
REQUEST = headers(1) + data(1, message(b"end:"))


def test_half_written_frames() -> None:
    with running({PATH: Noted}) as server, client(server) as sock:
        for n in range(len(HELLO + REQUEST)):
            sock.sendall((HELLO + REQUEST)[n : n + 1])
        assert answered(sock, 1).data[1] == message(b"end:")


@pytest.mark.parametrize("said", [b"", HELLO[:20], HELLO[:24]])
def test_a_client_that_never_says_hello_is_dropped(said: bytes) -> None:
    with running({PATH: Noted}, settings=HASTY) as server, client(server, said) as sock:
        assert errors(ended(sock)) == []
        until(lambda: not server.engine._clients)  # type: ignore[attr-defined]


def test_a_silent_client_is_asked_and_dropped_and_one_that_answers_stays() -> None:
    with (
        running({PATH: Noted}, settings=Settings(keepalive=0.2, keepalive_timeout=2.0)) as server,
        client(server, HELLO) as silent,
        client(server, HELLO) as alive,
    ):
        for _ in range(4):
            ping = frames(heard(alive, "PingFrame"))[-1]
            alive.sendall(raw(6, 1, 0, ping.opaque_data))  # type: ignore[attr-defined]
        assert ended(silent)
        alive.sendall(REQUEST)
        assert answered(alive, 1).status(1) == ("0", "")


def test_a_client_that_never_reads_costs_no_memory_and_is_dropped() -> None:
    with running({PATH: Noted}, settings=HASTY) as server, client(server) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(0.2)
        sent = 0
        try:
            sock.sendall(HELLO)
            while sent < 64 << 20:
                sent += sock.send(raw(6, 0, 0, bytes(8)) * 1000)
        except (TimeoutError, BrokenPipeError, ConnectionResetError):
            pass
        assert sent < 64 << 20
        until(lambda: not server.engine._clients)  # type: ignore[attr-defined]


def test_answers_that_the_socket_takes_piecewise(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket.accept

    def small(listener: socket.socket) -> tuple[socket.socket, object]:
        sock, address = real(listener)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        return sock, address

    monkeypatch.setattr(socket.socket, "accept", small)
    wide = raw(4, 0, 0, b"\0\4\x7f\xff\xff\xff") + raw(8, 0, 0, ((1 << 31) - 1 - 65_535).to_bytes(4))
    with running({PATH: Noted}) as server, client(server, HELLO + wide) as sock:
        sock.sendall(headers(1) + data(1, message(b"much") * 5, ends=True))
        assert answered(sock, 1).data[1] == b"".join(message(bytes((n,)) * 100_000) for n in range(3)) * 5
        (served,) = server.engine._clients.values()  # type: ignore[attr-defined]
        until(lambda: served.connection.queued == 0)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA, tmp_path: Path) -> Settings:
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    key.write_bytes(issued.private_key_pem.bytes())
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    return Settings(tls=Certificates(certificate, key), keepalive=0.2)


def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.set_alpn_protocols(["h2"])
    return context


def test_tls_byte_by_byte(authority: trustme.CA, secure: Settings) -> None:
    with running({PATH: Noted}, settings=secure) as server, client(server) as sock:
        into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        ours = tls(authority).wrap_bio(into, out, server_hostname="127.0.0.1")
        while True:
            try:
                ours.do_handshake()
                break
            except ssl.SSLWantReadError:
                for byte in out.read():
                    sock.sendall(bytes((byte,)))
                into.write(sock.recv(1 << 16))
        assert ours.selected_alpn_protocol() == "h2"
        ours.write(HELLO + REQUEST)
        for byte in out.read():
            sock.sendall(bytes((byte,)))
        answer = b""
        while 1 not in Answers().read(answer).ended:
            into.write(sock.recv(1 << 16))
            while True:
                try:
                    answer += ours.read()
                except ssl.SSLWantReadError:
                    break
        sock.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))  # no record of this session
        assert ended(sock)


def test_plain_text_to_a_tls_port_a_handshake_that_stops_and_records_that_are_none(
    authority: trustme.CA, secure: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with running({PATH: Noted}, settings=secure) as server:
        with client(server) as sock, tls(authority).wrap_socket(sock, server_hostname="127.0.0.1") as sealed:
            sealed.sendall(HELLO + REQUEST)
            assert answered(sealed, 1).ended == {1}
        with client(server, HELLO + REQUEST) as sock:
            assert ended(sock)[:1] in (b"\x15", b"")  # an alert, where it still gets there
    hasty = msgspec.structs.replace(secure, keepalive_timeout=0.3)
    with running({PATH: Noted}, settings=hasty) as server, client(server, b"\x16\x03\x01\x02\x00\x01") as sock:
        ended(sock)  # in time
    assert caplog.text == ""


def test_tls_to_a_plain_port() -> None:
    with running({PATH: Noted}) as server, client(server, b"\x16\x03\x01\x02\x00\x01" + bytes(60)) as sock:
        assert errors(ended(sock)) == [("GOAWAY", 0, 1)]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The client's end, which does not block, and the server's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


def on(sock: socket.socket, now: float = 0.0, buffer: memoryview | None = None) -> ClientSocket:
    return ClientSocket(sock, Served().connection, None, buffer or memoryview(bytearray(RECEIVE_SIZE)), now)


def test_what_comes_is_answered(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    one = on(theirs)
    assert one.fd == theirs.fileno()
    ours.sendall(HELLO + REQUEST)
    assert not one.handle(EPOLLIN, 0.0, UNLIMITED)
    assert Answers().read(ours.recv(1 << 16)).status(1) == ("0", "")
    assert (one.wanted_events(), one.has_backlog(), one.closed) == (EPOLLIN, False, False)
    one.read(0.0)  # nothing has come
    with pytest.raises(BlockingIOError):
        ours.recv(1)


def test_sockets_share_one_buffer(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    buffer = memoryview(bytearray(RECEIVE_SIZE))
    first = on(theirs, buffer=buffer)
    ours.sendall((HELLO + REQUEST)[:70])
    first.read(0.0)
    mine, others = socket.socketpair()
    with mine, others:
        second = on(others, buffer=buffer)
        mine.sendall(b"?" * 24)
        second.read(0.0)
        assert errors(mine.recv(1 << 16)) == [("GOAWAY", 0, 1)]
        assert second.closed
    ours.sendall((HELLO + REQUEST)[70:])
    first.read(0.0)
    assert Answers().read(ours.recv(1 << 16)).status(1) == ("0", "")


def test_a_share_leaves_a_backlog(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    one = on(theirs)
    ours.sendall(HELLO + headers(1) + data(1, message(b"a") * 50 + message(b"end:")))
    assert one.handle(EPOLLIN, 0.0, 20)
    turns = 0
    while one.has_backlog():
        one.handle(EPOLLIN, 0.0, 20)
        turns += 1
    assert turns > 10
    assert Answers().read(ours.recv(1 << 16)).status(1) == ("0", "")


def test_a_client_that_does_not_read_is_not_read_from(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    one = on(theirs)
    ours.sendall(HELLO)
    one.read(0.0)
    one.connection.put(raw(6, 1, 0, bytes(8)) * 200_000)  # 3.4 MB
    one.write()
    assert one.wanted_events() == EPOLLOUT
    assert one.handle(EPOLLOUT, 0.0, UNLIMITED)
    taken = len(ours.recv(1 << 22))
    assert taken > 0
    while one.wanted_events() & EPOLLOUT:
        one.handle(EPOLLOUT, 0.0, UNLIMITED)
        with suppress(BlockingIOError):
            taken += len(ours.recv(1 << 22))
    assert one.wanted_events() == EPOLLIN
    assert one.connection.queued == 0
    with suppress(BlockingIOError):
        while piece := ours.recv(1 << 22):
            taken += len(piece)
    assert taken >= 3_400_000


def test_a_client_that_is_gone(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    one = on(theirs)
    ours.sendall(HELLO + headers(1))
    one.read(0.0)
    (stream,) = one.connection.streams.values()
    ours.close()
    assert one.handle(EPOLLIN, 0.0, UNLIMITED)
    assert one.closed
    assert one.connection.failed
    assert stream._handler is None  # type: ignore[attr-defined]
    one.close()


def test_what_fails_costs_this_connection_alone(
    pair: tuple[socket.socket, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = pair

    def fail(*_: object) -> Stream:
        raise RuntimeError("not foreseen")

    one = ClientSocket(theirs, Connection(fail), None, memoryview(bytearray(RECEIVE_SIZE)), 0.0)
    ours.sendall(HELLO + headers(1))
    assert one.handle(EPOLLIN, 0.0, UNLIMITED)
    assert one.closed
    assert "the engine failed on a connection" in caplog.text


def test_a_client_without_a_preface_times_out(pair: tuple[socket.socket, socket.socket]) -> None:
    one = on(pair[1], now=100.0)
    assert [one.timed_out(100.0 + later, 60, 20) for later in (0, 20, 20.5)] == [False, False, True]


def test_a_silent_client_is_pinged_and_times_out(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    one = on(theirs)
    ours.sendall(HELLO)
    one.read(10.0)
    ours.recv(1 << 16)
    pending = []
    for now in (69.9, 70.0):
        assert not one.timed_out(now, 60, 20)
        pending.append(one.connection.ping_pending)
    assert pending == [False, True]
    one.write()
    (ping,) = frames(ours.recv(1 << 16))
    assert [one.timed_out(now, 60, 20) for now in (90.0, 90.1)] == [False, True]
    ours.sendall(raw(6, 1, 0, ping.opaque_data))  # type: ignore[attr-defined]
    one.read(95.0)
    assert [one.timed_out(now, 60, 20) for now in (95.0, 154.9)] == [False, False]
    assert not one.connection.ping_pending


def test_a_connection_that_has_failed_is_closed_once_all_is_sent(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    one = on(theirs)
    ours.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert one.handle(EPOLLIN, 0.0, UNLIMITED)
    assert errors(ours.recv(1 << 16)) == [("GOAWAY", 0, 1)]
    assert one.closed
    assert ours.recv(1) == b""
