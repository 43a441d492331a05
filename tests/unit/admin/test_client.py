"""Where processors are: what addresses mean, and what is said of those that do not answer."""

from __future__ import annotations

import socket
from threading import Thread
from typing import Any

import pytest

from extproc.admin import client
from extproc.admin.client import DEFAULT_PORT, Replica, Unreachable, resolve_replicas
from extproc.errors import SetupError
from tests.hostile_server import CHUNKED, OK, HostileServer, dripping, flooding
from tests.waiting import until

V4, V6 = socket.AF_INET, socket.AF_INET6
TCP = socket.SOCK_STREAM


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[int, str]]]:
    """What names stand for; others are not known."""
    known: dict[str, list[tuple[int, str]]] = {}

    def resolve(host: str, port: int, type: int) -> list[Any]:  # noqa: A002
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(family, type, 6, "", (address, port)) for family, address in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known


def test_a_headless_service_is_all_its_pods(names: dict[str, list[tuple[int, str]]]) -> None:
    names["extproc.aimesh"] = [(V4, "10.0.0.7"), (V4, "10.0.0.8"), (V4, "10.0.0.7"), (V6, "fd00::7"), (V6, "fd00::8")]
    authority = "extproc.aimesh:9090"
    assert resolve_replicas(["http://extproc.aimesh:9090"]) == [
        Replica(f"10.0.0.7 ({authority})", "10.0.0.7", 9090, authority),
        Replica(f"10.0.0.8 ({authority})", "10.0.0.8", 9090, authority),
    ], "a pod with both kinds of addresses counts once"


def test_one_address_keeps_its_name(names: dict[str, list[tuple[int, str]]]) -> None:
    names |= {"localhost": [(V6, "::1"), (V4, "127.0.0.1")], "fd00::7": [(V6, "fd00::7")], "one": [(V4, "10.0.0.7")]}
    assert [
        (r.name, r.host, r.port) for r in resolve_replicas(["localhost:91", "http://[fd00::7]:92/", "one", "one"])
    ] == [
        ("localhost:91", "localhost", 91),
        ("[fd00::7]:92", "fd00::7", 92),
        (f"one:{DEFAULT_PORT}", "one", DEFAULT_PORT),
    ]


def test_unix_sockets(names: dict[str, list[tuple[int, str]]]) -> None:
    assert resolve_replicas(["unix:///run/a.sock"]) == [Replica("unix:///run/a.sock", "/run/a.sock")]


def test_a_name_that_nobody_knows(names: dict[str, list[tuple[int, str]]]) -> None:
    with pytest.raises(Unreachable, match="nowhere:9090 is not known: Name or service not known"):
        resolve_replicas(["http://nowhere"])


@pytest.mark.parametrize(
    "source", ["https://host", "http://", "host:99999", "http://host/metrics", "unix:a", ":", "é", "9090"]
)
def test_what_is_no_address(source: str, names: dict[str, list[tuple[int, str]]]) -> None:
    with pytest.raises(SetupError, match="is no admin port; write"):
        resolve_replicas([source])


def ask(server: socket.socket, replica: Replica, answer: bytes | None) -> None:
    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(1000)
            if answer is not None:
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_RDWR)
            connection.recv(1000)

    thread = Thread(target=serve)
    thread.start()
    try:
        replica.get("/recent?x", timeout=0.3)
    finally:
        thread.join(5)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "ends the connection without an answer"),
        (b"SSH-2.0-x\r\n", "SSH-2.0-x"),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "answers /recent with status 404"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", "breaks off"),
        (None, "it takes too long"),
    ],
)
def test_who_is_no_processor(answer: bytes | None, reason: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        replica = Replica("it", "127.0.0.1", server.getsockname()[1])
        with pytest.raises(Unreachable, match=f"it .*{reason}"):
            ask(server, replica, answer)


def replica(server: HostileServer) -> Replica:
    return Replica("it", "127.0.0.1", int(server.address.rpartition(":")[2]))


def test_an_answer_has_its_time_and_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    with dripping() as slow, pytest.raises(Unreachable, match="it does not answer: it takes too long"):
        replica(slow).get("/recent", timeout=0.1)
    monkeypatch.setattr(client, "_MAX_BODY_BYTES", 1 << 16)
    for head in (OK, CHUNKED + b"-1\r\n"):
        with flooding(head, b"x" * 65536) as server:
            with pytest.raises(Unreachable, match="it does not answer: "):
                replica(server).get("/recent", timeout=60)
            until(lambda: not server.open)
            assert server.sent < 16 << 20  # what the kernel holds included


def lines_of(server: HostileServer) -> list[bytes | str]:
    """The lines of a tap, and at the end why there are no more."""
    found: list[bytes | str] = []
    try:
        with replica(server).lines("/tap") as lines:
            found.extend(lines)
    except Unreachable as problem:
        found.append(str(problem))
    return found


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        (
            [CHUNKED + b"1\r\n\n\r\n", b"4\r\na\nb\n\r\n", b"1\r\nc\r\n2\r\nd\n\r\n0\r\n\r\n"],
            [b"\n", b"a\n", b"b\n", b"cd\n"],
        ),
        ([OK, b"a\nb"], [b"a\n"]),
        ([OK + b"a\n\nb\n"], [b"a\n", b"\n", b"b\n"]),
    ],
)
def test_lines_by_lines_however_they_come(pieces: list[bytes], lines: list[bytes]) -> None:
    with HostileServer(lambda: pieces) as server:
        assert lines_of(server) == [*lines, "it has ended"]


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ([CHUNKED + b"-1\r\n"], ["it does not answer: what comes is no HTTP/1.1"]),
        ([CHUNKED + b"2\r\na\n\r\n"], [b"a\n", "it has gone: it breaks off"]),
        ([b"HTTP/1.1 503 No\r\ncontent-length: 5\r\n\r\nmany\n"], ["it answers with status 503: many"]),
        ([b""], ["it does not answer: it ends the connection without an answer"]),
    ],
)
def test_taps_that_end(pieces: list[bytes], said: list[bytes | str]) -> None:
    with HostileServer(lambda: pieces) as server:
        assert lines_of(server) == said


def test_a_tap_whose_line_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_MAX_LINE_BYTES", 1 << 16)
    with flooding(OK, b"x" * 9999) as server:
        assert lines_of(server) == ["it sends a line of more than 64 KiB"]
        until(lambda: not server.open)


def test_a_tap_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "TIMEOUT", 0.1)
    monkeypatch.setattr(client, "_PATIENCE", 0.1)
    with dripping(b"HTTP/1.1 200 OK\r\na: ") as server:
        assert lines_of(server) == ["it does not answer: it takes too long"]
    with HostileServer(lambda: (OK + b"a\n" if n == 0 else b"" for n in range(10_000)), drip=True) as server:
        assert lines_of(server) == [b"a\n", "it has gone: it takes too long"]
