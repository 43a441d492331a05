"""Reads Envoy's access log straight from its bytes, in the form in which Envoy serializes it.

As ``canonical`` does: fields in ascending order, each once. Messages in any other form, valid or not, are left to the
generated code (``parse`` returns None). What is not read is passed over unseen. Why: docs/decisions/0015-accounts.md.
Sources: Protocol Buffers, "Encoding"; als.proto, accesslog.proto (AccessLogCommon, HTTPRequestProperties,
HTTPResponseProperties), base.proto (Metadata), struct.proto.
"""

from __future__ import annotations

from typing import TypeAlias

from google.protobuf.message import DecodeError

from extproc.envoy.canonical import read_varint
from extproc.envoy.codec import NAMESPACE, OWN_DETAILS
from extproc.envoy.endpoint_picker import PICKED_NAMESPACE
from extproc.envoy.logged_request import LoggedRequest, caller_of, flags_of, found_no_server, socket_of
from extproc.headers import DESTINATION_ENDPOINT

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types."""
_HTTP_LOGS = 2
"""Field of StreamAccessLogsMessage; 1 is the ``identifier``."""
_COMMON, _REQUEST, _RESPONSE = 1, 3, 4
"""Fields of HTTPAccessLogEntry."""
_TLS, _FIRST_BYTE, _SERVER, _CLUSTER, _FLAGS = 4, 9, 13, 15, 16
_METADATA, _FILTER_STATE, _TAGS, _DURATION = 17, 21, 22, 23
"""Fields of AccessLogCommon."""
_REQUEST_ID, _HEADERS = 9, 13
"""Fields of HTTPRequestProperties."""
_CODE, _DETAILS = 1, 6
"""Fields of HTTPResponseProperties."""
_KEY, _VALUE = 0x0A, 0x12
"""Tags of the fields of a map's entry."""
_TEXT = 0x1A
"""Tag of ``string_value`` of ``google.protobuf.Value``."""
_OWN = OWN_DETAILS.encode()

_Common: TypeAlias = tuple[str, float, bool, bytes | None, tuple[str, ...], dict[str, str], str, bytes]
"""What AccessLogCommon tells: the cluster, the duration, whether the server had begun to answer, the server's
``Address``, flags, our metadata, the picked servers, and the bytes of the fields that tell of clients.
"""
_NOTHING_COMMON: _Common = ("", 0.0, False, None, (), {}, "", b"")


def parse(data: bytes, most: int) -> list[LoggedRequest] | None:
    """The entries of a StreamAccessLogsMessage; None where it is not in Envoy's form, or has more than ``most``."""
    found: list[LoggedRequest] = []
    try:
        at, end = 0, len(data)
        while at < end:
            key, start, at = _next(data, at, end)
            if key >> 3 == _HTTP_LOGS:
                if key & 7 != _BYTES or at != end:
                    return None
                while start < end:
                    key, first, start = _next(data, start, end)
                    if key != _KEY or len(found) >= most:
                        return None
                    found.append(_entry(data, first, start))
    except (LookupError, ValueError, DecodeError):  # truncated, another form, or a text that is not UTF-8
        return None
    return found


def _entry(data: bytes, at: int, end: int) -> LoggedRequest:
    """Of an HTTPAccessLogEntry from ``at`` to ``end``. Raises LookupError, ValueError or DecodeError."""
    common: _Common = _NOTHING_COMMON
    request_id, headers, code, refusal, part = "", b"", 0, "", 0
    while at < end:
        key, start, at = _next(data, at, end)
        number = key >> 3
        if number < part or (number == part and number in (_COMMON, _REQUEST, _RESPONSE)):
            raise ValueError
        part = number
        if key & 7 != _BYTES:
            continue
        if part == _COMMON:
            common = _common(data, start, at)
        elif part == _REQUEST:
            request_id, headers = _request(data, start, at)
        elif part == _RESPONSE:
            code, refusal = _response(data, start, at)
    cluster, seconds, answered, server, flags, metadata, picked, client = common
    sent = server is not None or (bool(flags) and found_no_server(flags))
    return LoggedRequest(
        code,
        seconds,
        cluster if sent else "",
        flags,
        metadata,
        answered,
        request_id,
        caller_of(client, headers) if client or headers else "",
        picked,
        socket_of(server) if picked and server is not None else "",
        refusal,
    )


def _common(data: bytes, at: int, end: int) -> _Common:
    cluster, seconds, answered, picked, tls, field = "", 0.0, False, "", b"", 0
    maps = maps_end = end
    server: bytes | None = None
    flags: tuple[str, ...] = ()
    metadata: dict[str, str] = {}
    while at < end:
        tag = at
        key, start, at = _next(data, at, end)
        number = key >> 3
        if number < field or (
            # Written out: compiled, these are comparisons, and a tuple with a name would be made for each field.
            number == field and number in (_TLS, _FIRST_BYTE, _SERVER, _CLUSTER, _FLAGS, _METADATA, _DURATION)
        ):
            raise ValueError
        field = number
        if key & 7 != _BYTES:
            continue  # numbers, which are not read
        if field == _CLUSTER:
            cluster = data[start:at].decode()
        elif field == _METADATA:
            metadata, picked = _metadata(data, start, at)
        elif field == _DURATION:
            seconds = _duration(data, start, at)
        elif field == _FIRST_BYTE:
            answered = True
        elif field == _SERVER:
            server = data[start:at]
        elif field == _FLAGS:
            flags = flags_of(data[start:at])
        elif field == _TLS:
            tls = data[tag:at]
        elif field in (_FILTER_STATE, _TAGS):  # one behind the other
            maps, maps_end = min(maps, tag), at
    return cluster, seconds, answered, server, flags, metadata, picked, tls + data[maps:maps_end]


def _request(data: bytes, at: int, end: int) -> tuple[str, bytes]:
    """``x-request-id``, and the bytes of the headers that are logged."""
    request_id, field = "", 0
    headers = headers_end = end
    while at < end:
        tag = at
        key, start, at = _next(data, at, end)
        number = key >> 3
        if number < field or number == field == _REQUEST_ID:
            raise ValueError
        field = number
        if key & 7 != _BYTES:
            continue
        if field == _REQUEST_ID:
            request_id = data[start:at].decode()
        elif field == _HEADERS:
            headers, headers_end = min(headers, tag), at
    return request_id, data[headers:headers_end]


def _response(data: bytes, at: int, end: int) -> tuple[int, str]:
    """The status, and the code of an error of ours."""
    code, refusal, field = 0, "", 0
    while at < end:
        key, start, at = _next(data, at, end)
        number = key >> 3
        if number < field or (number == field and number in (_CODE, _DETAILS)):
            raise ValueError
        field = number
        if key & 7 != _BYTES:
            continue
        if field == _CODE:
            code = _number(data, start, at)
        elif field == _DETAILS and data.startswith(_OWN, start, at):
            refusal = data[start + len(_OWN) : at].decode()
    return code, refusal


def _metadata(data: bytes, at: int, end: int) -> tuple[dict[str, str], str]:
    """Our own, and the servers that were picked."""
    own: dict[str, str] = {}
    picked = ""
    while at < end:
        key, start, at = _next(data, at, end)
        if key == _KEY:
            middle = _entry_key(data, start, at)
            name = data[start + 2 : middle].decode()
            if name == NAMESPACE:
                own = _texts(data, middle, at)
            elif name == PICKED_NAMESPACE:
                picked = _texts(data, middle, at).get(DESTINATION_ENDPOINT, "")
            elif middle < at:
                key, start, stop = _next(data, middle, at)
                if key != _VALUE or stop != at:  # another key, which would be the one that counts
                    raise ValueError
        elif key >> 3 == 1:
            raise ValueError
    return own, picked


def _texts(data: bytes, at: int, end: int) -> dict[str, str]:
    """The fields of a ``google.protobuf.Struct``, from its tag on; raises ValueError where one is no text."""
    found: dict[str, str] = {}
    key, start, stop = _next(data, at, end)
    if key != _VALUE or stop != end:
        raise ValueError
    while start < end:
        key, place, start = _next(data, start, end)
        if key != _KEY:
            raise ValueError
        middle = _entry_key(data, place, start)
        key, value, stop = _next(data, middle, start)
        if key != _VALUE or stop != start:
            raise ValueError
        key, text, stop = _next(data, value, start)
        if key != _TEXT or stop != start:
            raise ValueError
        found[data[place + 2 : middle].decode()] = data[text:stop].decode()
    return found


def _entry_key(data: bytes, at: int, end: int) -> int:
    """Where the key of a map's entry ends, which begins two bytes behind ``at``."""
    stop = at + 2 + data[at + 1]
    if data[at] != _KEY or data[at + 1] > 0x7F or stop > end:
        raise ValueError
    return stop


def _duration(data: bytes, at: int, end: int) -> float:
    """The seconds of a ``google.protobuf.Duration``; raises ValueError for negative ones."""
    seconds, nanos, field = 0, 0, 0
    while at < end:
        key, start, at = _next(data, at, end)
        if key >> 3 <= field or key & 7 != _VARINT or key >> 3 > 2:
            raise ValueError
        field = key >> 3
        _, number = read_varint(data, start)
        if field == 1:
            seconds = number
        elif number >= 1 << 31:
            raise ValueError
        else:
            nanos = number
    return seconds + nanos / 1e9


def _number(data: bytes, at: int, end: int) -> int:
    """Of a ``google.protobuf.UInt32Value``."""
    if at == end:
        return 0
    key, start, stop = _next(data, at, end)
    if key != 0x08 or stop != end:
        raise ValueError
    _, number = read_varint(data, start)
    if number >= 1 << 32:
        raise ValueError
    return number


def _next(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """(tag, where the field's content begins, where it ends). Raises ValueError where it does not end by ``end``, and
    IndexError for a number of 2**35 and more.
    """
    key = data[at]
    at += 1
    if key > 0x7F:
        at, key = read_varint(data, at - 1)
    kind = key & 7
    start = stop = at
    if kind == _BYTES:
        start, size = at + 1, data[at]
        if size > 0x7F:
            start, size = read_varint(data, at)
        stop = start + size
    elif kind == _VARINT:
        stop, size = read_varint(data, at)
    elif kind == _FIXED32:
        stop += 4
    elif kind == _FIXED64:
        stop += 8
    else:
        raise ValueError
    if not start <= stop <= end or key < 1 << 3:
        raise ValueError
    return key, start, stop
