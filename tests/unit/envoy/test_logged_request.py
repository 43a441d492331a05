"""What many entries of the access log have in common is read once; what is long, each time."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError

from extproc._pb import access_log_pb2 as pb
from extproc.envoy import logged_request
from extproc.envoy.logged_request import MAX_REMEMBERED, caller_of, flags_of, found_no_server, socket_of


def test_flags_by_their_names() -> None:
    flags = pb.ResponseFlags(no_healthy_upstream=True, downstream_remote_reset=True).SerializeToString()
    assert flags_of(flags) == ("no_healthy_upstream", "downstream_remote_reset")
    assert found_no_server(flags_of(flags))
    assert not found_no_server(("local_reset",))


@pytest.mark.parametrize(("host", "socket"), [("10.0.0.1", "10.0.0.1:80"), ("::1", "[::1]:80"), ("", "")])
def test_sockets(host: str, socket: str) -> None:
    assert (
        socket_of(pb.Address(socket_address=pb.SocketAddress(address=host, port_value=80)).SerializeToString())
        == socket
    )


def test_broken_bytes_are_refused_each_time() -> None:
    for _ in range(2):
        for read in (flags_of, socket_of):
            with pytest.raises(DecodeError):
                read(b"\xff")
        with pytest.raises(DecodeError):
            caller_of(b"\xff", b"")


def test_long_ones_are_not_kept() -> None:
    def caller(length: int) -> bytes:
        common = pb.AccessLogCommon()
        common.tls_properties.peer_certificate_properties.subject_alt_name.add(uri="x" * length)
        return common.SerializeToString()

    logged_request._caller.cache_clear()
    assert len(caller_of(caller(MAX_REMEMBERED), b"")) == MAX_REMEMBERED
    assert logged_request._caller.cache_info().currsize == 0
    assert caller_of(caller(7), b"") == "x" * 7
    assert logged_request._caller.cache_info().currsize == 1
