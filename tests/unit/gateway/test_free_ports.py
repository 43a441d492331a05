"""Ports that are taken, and port 0."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from extproc.errors import SetupError
from extproc.gateway import free_ports
from extproc.gateway.free_ports import free_addresses, require_free_port, with_free_port


def test_a_taken_port_is_named_before_anything_starts() -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            SetupError, match=rf"127.0.0.1:{port} \(--listen\): Address already in use; stop what uses it"
        ):
            require_free_port("--listen", f"127.0.0.1:{port}")
    require_free_port("--listen", f"127.0.0.1:{port}")


def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(SetupError, match=r"cannot listen on 192\.0\.2\.1:80 \(--admin\)"):
        require_free_port("--admin", "192.0.2.1:80")


def test_port_0_becomes_one_that_is_free() -> None:
    assert with_free_port("127.0.0.1:9090") == "127.0.0.1:9090"
    address = with_free_port("127.0.0.1:0")
    require_free_port("--admin", address)
    assert not address.endswith(":0")


def test_free_addresses_are_different_and_free() -> None:
    found = free_addresses(5)
    assert len(set(found)) == 5
    for address in found:
        require_free_port("--listen", address)
        assert address.startswith("127.0.0.1:")


def test_ports_that_are_chosen_are_given_to_nobody_else_meanwhile() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    if first < 10_003:
        pytest.skip(f"ephemeral ports begin at {first} here: none are below them")
    found = [*free_addresses(50), with_free_port("127.0.0.1:0")]
    assert all(10_000 <= int(address.rpartition(":")[2]) < first for address in found)


def test_where_likely_ports_are_taken_any_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(free_ports, "likely_port", lambda: taken.getsockname()[1])
        (address,) = free_addresses(1)
        require_free_port("--listen", address)
