"""Reads Envoy's gRPC access log: what became of each request, as the proxy itself saw it.

Sources: envoy/service/accesslog/v3/als.proto, envoy/data/accesslog/v3/accesslog.proto, of which ``protos/`` holds what
is read here.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import StringValue

from extproc._pb import access_log_pb2 as pb
from extproc.envoy.codec import OWN_DETAILS, Malformed, own_metadata
from extproc.envoy.endpoint_picker import picked_endpoints
from extproc.envoy.events import PEER_NAME, TUNNEL_PEER
from extproc.headers import LINKERD_CLIENT

SERVICE = "envoy.service.accesslog.v3.AccessLogService"
STREAM = f"/{SERVICE}/StreamAccessLogs"

MAX_MESSAGE, MAX_ENTRIES = 256 << 10, 1_000
"""Bytes and entries of a message. Envoy sends what it has from 16 KiB on; the last entry may be a head of 60 KiB."""
_NO_SERVER = ("no_healthy_upstream", "upstream_overflow", "no_cluster_found", "dns_resolution_failure")
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


def decode(data: bytes) -> list[LoggedRequest]:
    """The entries of one StreamAccessLogsMessage. Raises ``Malformed``, also for more than Envoy sends."""
    if len(data) > MAX_MESSAGE:
        raise Malformed("a StreamAccessLogsMessage that is too large")
    try:
        message = pb.StreamAccessLogsMessage.FromString(data)
    except DecodeError:
        raise Malformed("not a StreamAccessLogsMessage") from None
    entries = message.http_logs.log_entry
    if len(entries) > MAX_ENTRIES:
        raise Malformed("a StreamAccessLogsMessage of too many entries")
    try:
        return [_logged_request(entry) for entry in entries]
    except DecodeError:
        raise Malformed("filter state that is none") from None


def _logged_request(entry: pb.HTTPAccessLogEntry) -> LoggedRequest:
    common = entry.common_properties
    picked = picked_endpoints(common.metadata)
    details = entry.response.response_code_details
    return LoggedRequest(
        entry.response.response_code.value,
        common.duration.seconds + common.duration.nanos / 1e9,
        common.upstream_cluster if _was_sent(common) else "",
        tuple(field.name for field, _ in common.response_flags.ListFields()),
        own_metadata(common.metadata),
        common.HasField("time_to_first_upstream_rx_byte"),
        entry.request.request_id,
        _caller(entry),
        picked,
        _socket(common.upstream_remote_address) if picked else "",
        details.removeprefix(OWN_DETAILS) if details.startswith(OWN_DETAILS) else "",
    )


def _was_sent(common: pb.AccessLogCommon) -> bool:
    """Whether Envoy tried to send the request to the cluster. It names one for every request that has a route, those
    that a filter refuses and those whose client leaves before the decision included.
    """
    flags = common.response_flags
    return common.HasField("upstream_remote_address") or any(getattr(flags, name) for name in _NO_SERVER)


def _socket(address: pb.Address) -> str:
    host, port = address.socket_address.address, address.socket_address.port_value
    return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}") if host else ""


def _caller(entry: pb.HTTPAccessLogEntry) -> str:
    common = entry.common_properties
    for name in common.tls_properties.peer_certificate_properties.subject_alt_name:
        if name.uri:
            return name.uri
    if (peer_name := common.custom_tags.get(PEER_NAME, "-")) not in ("", "-"):
        return peer_name.partition(",")[0]
    peer = StringValue()
    if TUNNEL_PEER in common.filter_state_objects and common.filter_state_objects[TUNNEL_PEER].Unpack(peer):
        return peer.value
    return entry.request.request_headers.get(LINKERD_CLIENT, "")
