"""The loop on real sockets: its turns are shared, and nothing that happens where connections are accepted ends it."""

from __future__ import annotations

import os
import resource
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace

import pytest
import trustme

from extproc.grpc_server import Settings, create
from extproc.grpc_server.tls import Certificates, TlsContexts
from tests.grpc.running import Running, running
from tests.http2.clients import answered, client, ended, heard
from tests.http2.served import Noted
from tests.http2.wire import HELLO, PATH, Answers, data, errors, frames, headers, message, raw
from tests.waiting import until

REQUEST = HELLO + headers(1) + data(1, message(b"end:"))


def cpu(thread: Thread) -> float:
    """Seconds of it that a thread has used."""
    assert thread.ident
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


class Files:
    """A server's certificate, which changes, and an authority that clients must be of."""

    def __init__(self, directory: Path) -> None:
        self.authority = trustme.CA()
        self.certificate, self.key, self.client_ca = (directory / name for name in ("tls.crt", "tls.key", "ca.crt"))
        self.client_ca.write_bytes(self.authority.cert_pem.bytes())
        self.issue()

    def issue(self) -> bytes:
        """Another certificate; as it is shown to clients."""
        issued = self.authority.issue_cert("127.0.0.1")
        self.key.write_bytes(issued.private_key_pem.bytes())
        self.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())

    def settings(self, *, asks: bool = False) -> Settings:
        return Settings(tls=Certificates(self.certificate, self.key, self.client_ca if asks else None))

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        self.authority.issue_cert("client").configure_cert(context)
        context.set_alpn_protocols(["h2"])
        return context


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def shown(files: Files, sock: socket.socket) -> bytes | None:
    """The certificate of a server that answers there."""
    with files.context().wrap_socket(sock, server_hostname="127.0.0.1") as sealed:
        sealed.sendall(REQUEST)
        assert answered(sealed, 1).ended == {1}
        return sealed.getpeercert(binary_form=True)


@contextmanager
def free(number: int) -> Iterator[None]:
    """So many file descriptors, and no more, can be opened in this process."""
    highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        while (filler := os.dup(0)) < highest:
            stack.callback(os.close, filler)
        os.close(filler)
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        resource.setrlimit(resource.RLIMIT_NOFILE, (filler + number, limits[1]))
        yield


@pytest.mark.parametrize("number", range(6))
def test_a_certificate_that_changes_when_few_descriptors_are_left(
    files: Files, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    with running({PATH: Noted}, settings=files.settings()) as server, socket.socket() as sock:
        links = server.engine._clients  # type: ignore[attr-defined]
        newest = files.issue()
        sock.settimeout(10)
        with free(number):
            host, _, port = server.address.rpartition(":")
            sock.connect((host, int(port)))
            until(lambda: links or "no new connection can be taken" in caplog.text)
        assert server.thread.is_alive()
        shown(files, sock)  # by the old certificate or the new one
        with client(server) as other:
            assert shown(files, other) == newest


def test_an_authority_with_a_comment_of_other_letters(files: Files) -> None:
    with running({PATH: Noted}, settings=files.settings(asks=True)) as server:
        files.client_ca.write_bytes("# Zertifizierungsstelle für Prüfungen\n".encode() + files.client_ca.read_bytes())
        newest = files.issue()
        with client(server) as sock:
            assert shown(files, sock) == newest


def test_whatever_fails_for_a_new_connection_fails_for_that_one_alone(
    files: Files, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: TlsContexts) -> ssl.SSLContext:
        raise RuntimeError("not foreseen")

    with running({PATH: Noted}, settings=files.settings()) as server:
        with monkeypatch.context() as patched:
            patched.setattr(TlsContexts, "current", fail)
            with client(server) as sock:
                assert ended(sock) == b""
        assert "not foreseen" in caplog.text
        with client(server) as sock:
            shown(files, sock)


def test_one_that_sends_much_does_not_keep_the_others_waiting() -> None:
    log, busy, go_on = list[bytes](), Event(), Event()

    class Slow(Noted):
        def receive(self, message: bytes) -> Sequence[bytes]:
            if message == b"wait":
                busy.set()
                assert go_on.wait(10)
            log.append(message)
            return super().receive(message)

    def many(server: Running, stack: ExitStack) -> socket.socket:
        said = HELLO + b"".join(headers(n) + data(n, message(b"end:many")) for n in range(1, 601, 2))
        return stack.enter_context(client(server, said))

    with running({PATH: Slow}) as server, ExitStack() as stack:
        first = stack.enter_context(client(server, HELLO + headers(1) + data(1, message(b"wait"))))
        assert busy.wait(10)
        greedy = [many(server, stack) for _ in range(3)]
        modest = stack.enter_context(client(server, HELLO + headers(1) + data(1, message(b"end:few"))))
        go_on.set()
        assert answered(modest, 1).ended == {1}
        for sock in greedy:
            answered(sock, 599)
        first.sendall(data(1, message(b"end:")))
        assert answered(first, 1).ended == {1}
    assert log.count(b"end:many") == 900
    assert log.index(b"end:few") < 400


class Heavy:
    """A client's socket with frames of 600 units of work each, without end."""

    def __init__(self, fd: int, log: list[int]) -> None:
        self.fd, self.closed, self.registered_events = fd, False, 0
        self.connection = SimpleNamespace(work=0)
        self._log = log

    def handle(self, _: int, __: float, share: int) -> bool:
        self.connection.work = share + min(self.connection.work, 0)
        if self.connection.work > 0:
            self._log.append(self.fd)
            self.connection.work -= 600
        return True

    def wanted_events(self) -> int:
        return 0

    def has_backlog(self) -> bool:
        return True


def test_a_turn_ends_where_frames_were_more_than_a_share_and_the_next_begins_with_those_who_are_left() -> None:
    engine = create(["127.0.0.1:0"], {})
    turns = list[list[int]]()
    log = list[int]()
    engine._backlogged = {n: Heavy(n, log) for n in range(5)}  # type: ignore[attr-defined]
    engine._backlogged[2].closed = True  # type: ignore[attr-defined]
    for _ in range(4):
        engine._handle_events([], 0.0)  # type: ignore[attr-defined]
        turns.append(log.copy())
        log.clear()
    assert turns == [[0], [1], [3], [4]]
    for _ in range(40):
        engine._handle_events([], 0.0)  # type: ignore[attr-defined]
    assert set(engine._backlogged) == {0, 1, 3, 4}  # type: ignore[attr-defined]
    assert log.count(0) > 2
    assert {fd: log.count(fd) for fd in (0, 1, 3, 4)} == dict.fromkeys((0, 1, 3, 4), log.count(0))


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
            other.sendall(REQUEST)
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
