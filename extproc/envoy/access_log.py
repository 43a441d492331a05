"""Reads Envoy's gRPC access log (``LoggedRequest``).

Sources: envoy/service/accesslog/v3/als.proto, envoy/data/accesslog/v3/accesslog.proto, of which ``protos/`` holds what
is read here.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError

from extproc._pb import access_log_pb2 as pb
from extproc.envoy import canonical_log
from extproc.envoy.codec import OWN_DETAILS, Malformed, own_metadata
from extproc.envoy.endpoint_picker import picked_endpoints
from extproc.envoy.logged_request import LoggedRequest, caller_of, flags_of, found_no_server, socket_of

SERVICE = "envoy.service.accesslog.v3.AccessLogService"
STREAM = f"/{SERVICE}/StreamAccessLogs"

MAX_MESSAGE, MAX_ENTRIES = 256 << 10, 1_000
"""Bytes and entries of a message. Envoy sends what it has from 16 KiB on; the last entry may be a head of 60 KiB."""

_COMPILED = not canonical_log.__file__.endswith(".py")
"""As it is written it takes three times as long as the generated code, which is C's."""


def decode(data: bytes) -> list[LoggedRequest]:
    """The entries of one StreamAccessLogsMessage. Raises ``Malformed``, also for more than Envoy sends."""
    if len(data) > MAX_MESSAGE:
        raise Malformed("a StreamAccessLogsMessage that is too large")
    entries = canonical_log.parse(data, MAX_ENTRIES) if _COMPILED else None
    if entries is None:
        entries = _decode_any(data)
    if len(entries) > MAX_ENTRIES:
        raise Malformed("a StreamAccessLogsMessage of too many entries")
    return entries


def _decode_any(data: bytes) -> list[LoggedRequest]:
    """By the generated code, whatever the form."""
    try:
        message = pb.StreamAccessLogsMessage.FromString(data)
    except DecodeError:
        raise Malformed("not a StreamAccessLogsMessage") from None
    try:
        return [_logged_request(entry) for entry in message.http_logs.log_entry[: MAX_ENTRIES + 1]]
    except DecodeError:
        raise Malformed("filter state that is none") from None


def _logged_request(entry: pb.HTTPAccessLogEntry) -> LoggedRequest:
    common = entry.common_properties
    picked = picked_endpoints(common.metadata)
    flags = flags_of(common.response_flags.SerializeToString())
    details = entry.response.response_code_details
    return LoggedRequest(
        entry.response.response_code.value,
        common.duration.seconds + common.duration.nanos / 1e9,
        common.upstream_cluster if common.HasField("upstream_remote_address") or found_no_server(flags) else "",
        flags,
        own_metadata(common.metadata),
        common.HasField("time_to_first_upstream_rx_byte"),
        entry.request.request_id,
        caller_of(common.SerializeToString(), entry.request.SerializeToString()),
        picked,
        socket_of(common.upstream_remote_address.SerializeToString()) if picked else "",
        details.removeprefix(OWN_DETAILS) if details.startswith(OWN_DETAILS) else "",
    )
