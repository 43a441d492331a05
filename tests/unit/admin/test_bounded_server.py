"""Clients of the admin port that are slow, silent or many: they hold a place each, and nothing else."""

from __future__ import annotations

import errno
import http.client
import socket
import socketserver
from collections.abc import Iterator
from contextlib import ExitStack
from threading import Event
from threading import enumerate as threads

import pytest

from extproc.admin import bounded_server
from extproc.admin.bounded_server import MAX_CONNECTIONS, MAX_HEAD_BYTES
from extproc.admin.server import AdminContent, AdminServer
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.recent_traffic_by_caller import RecentTraffic
from extproc.telemetry.tap import OpenTaps
from tests.waiting import until


@pytest.fixture
def admin() -> Iterator[AdminServer]:
    taps, recent = OpenTaps(), RecentTraffic()
    admin = AdminServer("127.0.0.1:0", AdminContent(Metrics, lambda: "", dict, recent.report, taps.open))
    admin.start()
    yield admin
    admin.stop()


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def connect(admin: AdminServer, opened: ExitStack) -> socket.socket:
    return opened.enter_context(socket.create_connection(("127.0.0.1", admin.port), timeout=10))


def get(admin: AdminServer, path: str = "/healthz", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", admin.port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def accepted(admin: AdminServer, client: socket.socket) -> bool:
    """The server takes connections in their order: then it has taken those before ``client`` too."""
    with admin._server._lock:
        return client.getsockname() in [connection.getpeername() for connection in admin._server._evictable]


def answering() -> int:
    """Threads that answer somebody."""
    return sum("process_request_thread" in thread.name for thread in threads())


def test_no_resolver_is_asked_for_the_name_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getfqdn", lambda *_: pytest.fail("it may take seconds"))
    content = AdminContent(Metrics, lambda: "", dict, RecentTraffic().report, OpenTaps().open)
    admin = AdminServer("127.0.0.1:0", content)
    admin.start()
    admin.stop()


def test_a_crowd_of_silent_clients_makes_room_for_one_that_asks(admin: AdminServer, opened: ExitStack) -> None:
    before = answering()
    crowd = [connect(admin, opened) for _ in range(MAX_CONNECTIONS + 20)]
    for client in crowd[::2]:
        client.sendall(b"GET /healthz HTTP/1.1\r\nhost: ")
    assert [get(admin) for _ in range(20)] == [(200, "ok\n")] * 20
    assert answering() - before <= MAX_CONNECTIONS
    assert crowd[0].recv(1) == b"", "the oldest was let go"


def test_who_asks_again_stays(admin: AdminServer, opened: ExitStack) -> None:
    asks = connect(admin, opened)
    for _ in range(3):
        last = [connect(admin, opened) for _ in range(MAX_CONNECTIONS // 2)][-1]
        until(lambda last=last: accepted(admin, last))  # type: ignore[misc]
        asks.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        answer = b""
        while not answer.endswith(b"ok\n"):
            answer += (more := asks.recv(4096))
            assert more


def test_a_tap_is_not_let_go(admin: AdminServer, opened: ExitStack) -> None:
    tap = connect(admin, opened)
    tap.sendall(b"GET /tap HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert b"200 OK" in tap.recv(4096)
    for _ in range(MAX_CONNECTIONS + 20):
        connect(admin, opened)
    assert get(admin) == (200, "ok\n")
    beat = b""
    while not beat.endswith(b"1\r\n\n\r\n"):
        beat += (more := tap.recv(4096))
        assert more


def test_a_head_without_an_end_is_refused(admin: AdminServer, opened: ExitStack) -> None:
    """Without a bound, 100 lines of 64 KiB would be kept for each connection."""
    assert get(admin, **{"x-large": "a" * (MAX_HEAD_BYTES - 1000)})[0] == 200
    client = connect(admin, opened)
    client.sendall(b"GET /healthz HTTP/1.1\r\n" + b"x: aaaa\r\n" * 50 + b"y: ")
    client.sendall(b"a" * MAX_HEAD_BYTES)
    assert client.recv(4096).startswith(b"HTTP/1.1 431 ")


def test_without_a_file_descriptor_accepting_waits(admin: AdminServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It neither ends nor spins: each failure is followed by a pause, and by the next attempt."""
    attempts = 0
    paused: list[float] = []
    twice = Event()
    accept = socketserver.TCPServer.get_request

    def fail_twice(server: socketserver.TCPServer) -> tuple[socket.socket, object]:
        nonlocal attempts
        attempts += 1
        if attempts <= 2:
            raise OSError(errno.EMFILE, "Too many open files")
        twice.set()
        return accept(server)

    with monkeypatch.context() as patch:
        patch.setattr(socketserver.TCPServer, "get_request", fail_twice)
        patch.setattr(bounded_server, "sleep", paused.append)
        assert get(admin) == (200, "ok\n")
        assert twice.wait(10)
    assert paused == [0.1, 0.1]


def test_without_a_thread_the_place_is_free_again(admin: AdminServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(socketserver.ThreadingMixIn, "process_request", fail)
        for _ in range(MAX_CONNECTIONS + 1):
            with pytest.raises((ConnectionError, http.client.HTTPException)):
                get(admin)
    assert get(admin) == (200, "ok\n")
