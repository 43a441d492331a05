"""Where processors are: what addresses mean, and what is said of those that do not answer."""

from __future__ import annotations

import socket
from threading import Thread
from typing import Any

import pytest

from extproc.admin.client import DEFAULT_PORT, Replica, Unreachable, resolve_replicas
from extproc.errors import SetupError

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


@pytest.mark.parametrize("source", ["https://host", "http://", "host:99999", "http://host/metrics", "unix:a", ":"])
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
        (b"", "closed connection without response"),
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
