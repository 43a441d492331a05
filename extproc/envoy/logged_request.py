"""One entry of Envoy's access log: what became of a request, as the proxy itself saw it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import msgspec
from google.protobuf.wrappers_pb2 import StringValue

from extproc._pb import access_log_pb2 as pb
from extproc.envoy.events import PEER_NAME, TUNNEL_PEER
from extproc.headers import LINKERD_CLIENT

_NO_SERVER = frozenset(
    ("no_healthy_upstream", "upstream_overflow", "no_cluster_found", "dns_resolution_failure"),
)
"""Flags of requests for which the cluster had no server."""


class LoggedRequest(msgspec.Struct, frozen=True):
    """One entry: a request that has ended."""

    code: int
    """The HTTP status that Envoy sent; 0 where the client left before there was one."""
    seconds: float
    """From the first byte of the request to the end of the exchange."""
    cluster: str = ""
    """The cluster to which the request went; empty where it went no further than Envoy."""
    flags: tuple[str, ...] = ()
    """Names of the fields of ``ResponseFlags`` that are set: why the answer is not the upstream's, or not whole."""
    metadata: Mapping[str, str] = {}
    """Dynamic metadata of the namespace ``aimesh``."""
    answered: bool = False
    """The model server had begun to answer."""
    request_id: str = ""
    """``x-request-id``, by which Envoy tells requests apart."""
    caller: str = ""
    """The client's identity, verified by Envoy: the URI in its certificate, else the first DNS name, or its tunnel's
    URI; or by Linkerd's proxy.
    """
    picked: str = ""
    """The servers that were picked for it, the first one first, separated by commas; empty: none was."""
    served: str = ""
    """Of a request with picked ones, the server that it was sent to, ``ip:port``; empty where there was none."""
    refusal: str = ""
    """The code of the processor's error that was the answer (``actions.Reject.code``); empty where none was."""


def found_no_server(flags: tuple[str, ...]) -> bool:
    """Whether Envoy tried to send the request to the cluster, which had no server."""
    return not _NO_SERVER.isdisjoint(flags)


# What follows is the same for many requests: of one client, of one server, or of nearly all.

MAX_REMEMBERED = 4 << 10
"""Bytes of a message that may be remembered, so that nobody fills the memory with long ones."""


def flags_of(flags: bytes) -> tuple[str, ...]:
    """``LoggedRequest.flags`` from ``ResponseFlags``. Raises ``DecodeError``."""
    return _flags(flags) if len(flags) <= MAX_REMEMBERED else _flags.__wrapped__(flags)


def socket_of(address: bytes) -> str:
    """``ip:port`` of an ``Address``; empty where it has none. Raises ``DecodeError``."""
    return _socket(address) if len(address) <= MAX_REMEMBERED else _socket.__wrapped__(address)


def caller_of(common: bytes, request: bytes) -> str:
    """``LoggedRequest.caller`` from ``AccessLogCommon`` and ``HTTPRequestProperties``, or from those of their fields
    that tell of clients. Raises ``DecodeError``.
    """
    small = len(common) + len(request) <= MAX_REMEMBERED
    return _caller(common, request) if small else _caller.__wrapped__(common, request)


@lru_cache(maxsize=1024)
def _flags(flags: bytes) -> tuple[str, ...]:
    return tuple(field.name for field, _ in pb.ResponseFlags.FromString(flags).ListFields())


@lru_cache(maxsize=1024)
def _socket(address: bytes) -> str:
    found = pb.Address.FromString(address).socket_address
    host, port = found.address, found.port_value
    return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}") if host else ""


@lru_cache(maxsize=1024)
def _caller(common: bytes, request: bytes) -> str:
    properties = pb.AccessLogCommon.FromString(common)
    for name in properties.tls_properties.peer_certificate_properties.subject_alt_name:
        if name.uri:
            return name.uri
    if (peer_name := properties.custom_tags.get(PEER_NAME, "-")) not in ("", "-"):
        return peer_name.partition(",")[0]
    peer = StringValue()
    objects = properties.filter_state_objects
    if TUNNEL_PEER in objects and objects[TUNNEL_PEER].Unpack(peer):
        return peer.value
    return pb.HTTPRequestProperties.FromString(request).request_headers.get(LINKERD_CLIENT, "")
