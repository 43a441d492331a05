"""Addresses → listening sockets: what is taken, refused, replaced and tidied up."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from extproc.errors import SetupError
from extproc.grpc_server import listeners


@contextmanager
def listens(address: str) -> Iterator[list[socket.socket]]:
    sockets = listeners.listen(address)
    try:
        yield sockets
    finally:
        for one in sockets:
            listeners.close(one)


@pytest.mark.parametrize(
    "address",
    [
        *("host", "", ":", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:-1", "127.0.0.1:99999999"),
        *("127.0.0.1:65536", "192.0.2.1:0", "no.such.host.invalid:0", "a" * 80 + ":0", "..:0", "[::1:0:0"),
        *("unix:", "unix://", "unix:///no/such/dir/x", "unix:///proc/x", "unix:///" + "x" * 200, "unix:///a\0b"),
    ],
)
def test_bad_addresses(address: str) -> None:
    with pytest.raises(SetupError, match="cannot listen on"):
        listeners.listen(address)


def test_a_file_that_is_no_socket_stays(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("precious")
    with pytest.raises(SetupError):
        listeners.listen(f"unix://{tmp_path}/x")
    assert (tmp_path / "x").read_text() == "precious"


@pytest.mark.parametrize("address", ["localhost:0", "127.0.0.1:0", "[::]:0", ":0"])
def test_any_port_is_one_port(address: str) -> None:
    with listens(address) as sockets:
        port = listeners.port(sockets)
        assert port > 0
        assert {one.getsockname()[1] for one in sockets} == {port}
        socket.create_connection(("127.0.0.1", port)).close()


def test_dual_stack_and_taken() -> None:
    with listens("[::]:0") as sockets:
        port = listeners.port(sockets)
        socket.create_connection(("::1", port)).close()
        for address in (f"[::]:{port}", f"0.0.0.0:{port}", f":{port}"):
            with pytest.raises(SetupError):
                listeners.listen(address)


def test_a_kind_of_address_that_the_machine_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """`localhost` stands for ::1 in many a container without IPv6; what can be listened on is."""
    resolved = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 0, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
    ]
    monkeypatch.setattr(listeners.socket, "getaddrinfo", lambda *_, **__: resolved)  # type: ignore[attr-defined]
    with listens("localhost:0") as sockets:
        assert [one.family for one in sockets] == [socket.AF_INET]
    real = socket.socket

    def without(family: Any = -1, *arguments: Any, **options: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "no such thing")
        return real(family, *arguments, **options)

    monkeypatch.setattr(listeners.socket, "socket", without)  # type: ignore[attr-defined]
    with listens("localhost:0") as sockets:
        assert len(sockets) == 1
    resolved.pop()
    with pytest.raises(SetupError):
        listeners.listen("localhost:0")


def test_a_stale_unix_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with listens(f"unix://{path}") as sockets:
        assert listeners.port(sockets) == 1
        with pytest.raises(SetupError):
            listeners.listen(f"unix://{path}")
        assert path.exists()
    assert not path.exists()


def test_whoever_is_too_busy_to_answer_is_alive(tmp_path: Path) -> None:
    """One whose queue of connections is full: a connection to it blocks, or is told to come again."""
    path = str(tmp_path / "s.sock")
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as first:
        busy.bind(path)
        busy.listen(0)
        first.connect(path)
        with pytest.raises(SetupError):
            listeners.listen(f"unix://{path}")
        assert Path(path).exists()


def test_a_socket_of_another_kind_is_not_ours_to_remove(tmp_path: Path) -> None:
    path = str(tmp_path / "s.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(path)
        with pytest.raises(SetupError):
            listeners.listen(f"unix://{path}")
        assert Path(path).exists()
