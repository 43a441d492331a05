"""Links and the loop on real sockets: clients that are slow, silent or wrong, and what the machine runs out of."""

from __future__ import annotations

import os
import resource
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread

import msgspec
import pytest
import trustme

from extproc.grpc_server import Settings, create
from extproc.grpc_server.tls import Certificates
from tests.grpc.running import running
from tests.http2.clients import answered, client, ended, heard
from tests.http2.served import Noted
from tests.http2.wire import HELLO, PATH, Answers, data, errors, frames, headers, message, raw
from tests.waiting import until

HASTY = Settings(keepalive=0.2, keepalive_timeout=0.3)
REQUEST = headers(1) + data(1, message(b"end:"))


def cpu(thread: Thread) -> float:
    """Seconds of it that a thread has used."""
    assert thread.ident
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


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
        (link,) = server.engine._clients.values()  # type: ignore[attr-defined]
        until(lambda: link.connection.queued == 0)


def test_no_file_left_for_connections(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two listeners have connections at once, and none can be taken; later they are."""
    busy, go_on, started = Event(), Event(), Event()

    class Slow(Noted):
        def receive(self, message: bytes) -> Sequence[bytes]:
            busy.set()
            assert go_on.wait(10)
            return super().receive(message)

    engine = create([f"unix://{tmp_path}/{n}" for n in range(2)], {PATH: Slow}, Settings(keepalive=0.2))
    thread = Thread(target=engine.run, args=(started.set,))
    thread.start()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        stack.callback(thread.join)
        stack.callback(engine.stop, 0)
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        first, *others = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(3)]
        assert started.wait(10)
        first.connect(f"{tmp_path}/0")
        first.sendall(HELLO + headers(1) + data(1, message(b"a")))
        assert busy.wait(10)
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
        for n, other in enumerate(others):
            other.settimeout(10)
            other.connect(f"{tmp_path}/{n}")
        go_on.set()
        until(lambda: "no new connection can be taken" in caplog.text)
        before = cpu(thread)
        time.sleep(0.3)
        assert cpu(thread) - before < 0.15
        assert len(engine._clients) == 1  # type: ignore[attr-defined]
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)  # and nobody hangs up
        for other in others:
            other.sendall(HELLO + REQUEST)
            assert answered(other, 1).data[1] == message(b"end:")


def test_leaving_while_thousands_of_streams_are_open() -> None:
    handlers: list[Noted] = []

    def factory(send: object) -> Noted:
        handlers.append(Noted(send))  # type: ignore[arg-type]
        return handlers[-1]

    with running({PATH: factory}) as server, client(server, HELLO) as sock:
        sock.sendall(b"".join(headers(n) for n in range(1, 6000, 2)))
        until(lambda: len(handlers) == 3000)
        server.engine.stop(0)
        answer = ended(sock)
        server.thread.join(10)
        assert not server.thread.is_alive()
        answers = Answers().read(answer)
        assert {answers.status(n)[0] for n in range(1, 6000, 2)} == {"14"}
        assert [handler.closed for handler in handlers] == [1] * 3000


def test_leaving_is_told_in_two_steps() -> None:
    with running({PATH: Noted}) as server, client(server, HELLO + headers(1)) as sock:
        heard(sock, "SettingsFrame")
        server.engine.stop(10)
        first = frames(heard(sock, "PingFrame"))
        assert [frame.last_stream_id for frame in first if type(frame).__name__ == "GoAwayFrame"] == [(1 << 31) - 1]  # type: ignore[attr-defined]
        sock.sendall(headers(3) + data(3, message(b"end:")))  # it has not heard
        assert answered(sock, 3).status(3) == ("0", "")
        sock.sendall(raw(6, 1, 0, first[-1].opaque_data))  # type: ignore[attr-defined]
        last = frames(heard(sock, "GoAwayFrame"))[-1]
        assert last.last_stream_id == 3  # type: ignore[attr-defined]
        sock.sendall(headers(5) + data(1, message(b"end:")))
        answer = ended(sock)
        assert errors(answer)[0] == ("RST_STREAM", 5, 7)
        assert Answers().read(answer).data[1] == message(b"end:")
        server.thread.join(10)
        assert not server.thread.is_alive()


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
