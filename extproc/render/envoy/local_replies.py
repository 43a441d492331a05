"""Bodies for Envoy's own error responses: what happened, and what to do, in the shape of the request's API.

The processor's dynamic metadata says which API that is; of a request that it has not decided, the path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from extproc import apis
from extproc.apis.error_shape import ErrorShape
from extproc.apis.error_table import DEFAULT, SHAPES, error_shape
from extproc.apis.grpc_error import DETAILS, RETRY_SECONDS, status_details
from extproc.render.document import Doc
from extproc.render.envoy.envoy_options import NAMESPACE, typed

MAX_HEADERS_KB, MAX_HEADERS = 60, 100
"""Limits of a request: KiB of its line and headers, number of headers. Envoy's defaults; the messages name them."""

_HTTP_1_0 = (
    "HTTP/1.0 is not served here: send the request by HTTP/1.1 or HTTP/2. A proxy in front may have to be told; for "
    "nginx, proxy_http_version 1.1."
)
_HEADERS_TOO_LARGE = (
    f"The request's line and headers have more than {MAX_HEADERS_KB} KiB: shorten them. "
    "Cookies and tokens are the usual cause."
)
_UNKNOWN_TRANSFER_ENCODING = (
    "The request's Transfer-Encoding is not known: send the body chunked, or with a Content-Length."
)


class _Reply(NamedTuple):
    """What a client is told by local replies of one kind."""

    status: int
    details: str
    """What Envoy's response code details contain; empty: any."""
    code: str
    message: str
    or_above: bool = False
    """Replies of any greater status, too."""


_HEAD_REFUSED = (
    _Reply(426, "", "http_version_too_low", _HTTP_1_0),
    _Reply(
        431, "too_many_headers", "too_many_headers", f"The request has more than {MAX_HEADERS} headers: leave some out."
    ),
    _Reply(431, "headers_too_large", "headers_too_large", _HEADERS_TOO_LARGE),
    _Reply(400, "missing_host_header", "no_host", "The request has no Host header: send one."),
    _Reply(403, "upgrade_failed", "upgrade_refused", "The connection can be upgraded to a WebSocket only."),
    _Reply(404, "", "not_found", "Nothing is served there: ask for a path that begins with /, and not by CONNECT."),
    _Reply(501, "invalid_transfer_encoding", "transfer_encoding", _UNKNOWN_TRANSFER_ENCODING),
)
"""Envoy can't read the request's head, or refuses it: the API is not known."""
_NO_ANSWER = (
    _Reply(503, "", "no_model_server", "No model server can take this request now."),
    _Reply(504, "", "timeout", "There was no answer in time."),
    _Reply(500, "", "internal_error", "The request could not be served.", or_above=True),
)
"""Model servers failed, or the way to them."""
_HEAD_READ = (
    _Reply(413, "", "request_too_large", "The request's body is too large."),
    _Reply(408, "", "request_timeout", "The request did not arrive in time."),
    _Reply(429, "", "rate_limited", "There are too many requests: try again later."),
    _Reply(503, "overload", "overloaded", "The gateway has no memory left for more requests: try again later."),
    _Reply(503, "ext_proc_error", "no_processor", "The gateway cannot route requests now."),
    *_NO_ANSWER,
    _Reply(400, "", "bad_request", "The request is not valid HTTP.", or_above=True),
)
"""Envoy has read the request's head."""

_UNAVAILABLE, _ALWAYS_UNAVAILABLE = 14, frozenset((429, 503, 504))
"""A status of gRPC, and statuses of HTTP for which Envoy gives it, whichever filter refuses. That of others varies (a
413 is RESOURCE_EXHAUSTED or UNKNOWN), and clients take no details with another status than the call's.
"""
_ASK_AGAIN = frozenset((429, 503))
"""Statuses after which a client may ask again soon."""

LOCAL_SERVER_TIMING = "total;dur=%DURATION%"
"""No model server was asked, or none has answered: the times of its part are not known."""

_METADATA = f"metadata.filter_metadata['{NAMESPACE}']"
_TOLD = f"'api' in {_METADATA}"
_GRPC = "request.headers['content-type'].startsWith('application/grpc')"


def local_replies() -> list[Doc]:
    """Response mappers of ``local_reply_config``, the first that matches wins.

    Immediate responses of the processor are local replies too, whose details begin with ``aimesh_``.
    """
    mappers = [_ours(), *(_grpc_mapper(reply, _GRPC) for reply in _HEAD_READ)]
    for shape, names in _shapes():
        condition = _either([_of_api(shape, names), *_by_path(shape)])
        mappers += [_mapper(reply, shape, condition) for reply in _HEAD_READ]
    return mappers + [_mapper(reply, DEFAULT, "") for reply in (*_HEAD_REFUSED, *_HEAD_READ)]


def local_replies_in_mesh() -> list[Doc]:
    """The same for a proxy that serves others as well: only for requests that the processor has read, where no model
    server answered.
    """
    mappers = [_ours(), *(_grpc_mapper(reply, f"{_TOLD} && {_GRPC}") for reply in _NO_ANSWER)]
    for shape, names in _shapes():
        mappers += [_mapper(reply, shape, _of_api(shape, names)) for reply in _NO_ANSWER]
    return mappers + [_mapper(reply, DEFAULT, _TOLD) for reply in _NO_ANSWER]


def _shapes() -> Iterator[tuple[ErrorShape, list[str]]]:
    """Each shape but the default one, and the APIs that have it."""
    seen: list[ErrorShape] = [DEFAULT]
    for (_, operation), shape in SHAPES.items():
        if not operation and not any(shape is other for other in seen):
            seen.append(shape)
            yield shape, [api for (api, op), other in SHAPES.items() if not op and other is shape]


def _of_api(shape: ErrorShape, names: Sequence[str]) -> str:
    """CEL: the processor has read a request of one of these APIs, and its operation has this shape."""
    others = sorted({op for (api, op), other in SHAPES.items() if api in names and other is not shape})
    excluded = f" && !({_METADATA}['operation'] in {_texts(others)})" if others else ""
    return f"{_METADATA}['api'] in {_texts(names)}{excluded}"


def _by_path(shape: ErrorShape) -> Iterator[str]:
    """CEL: the path is of an API with this shape, and of no other; ``/`` says nothing. Calls of gRPC have no shape."""
    rows = [
        (row.path, error_shape(row.api, row.operation)) for row in apis.TABLE if "." not in row.path and row.path != "/"
    ]
    mine = {path for path, other in rows if other is shape}
    theirs = {path.partition("{")[0] for path, other in rows if other is not shape}
    if literals := sorted(path for path in mine if "{" not in path):
        yield f"request.url_path in {_texts(literals)}"
    for prefix in sorted({path.partition("{")[0] for path in mine if "{" in path}):
        if not any(other.startswith(prefix) for other in theirs):
            yield f"request.url_path.startsWith('{prefix}')"


def _either(conditions: Sequence[str]) -> str:
    """CEL's ``||`` holds where one side does, whatever error the other gives."""
    return " || ".join(f"({condition})" for condition in conditions)


def _texts(texts: Sequence[str]) -> str:
    return f"[{', '.join(repr(text) for text in texts)}]"


def _grpc_mapper(reply: _Reply, condition: str) -> Doc:
    """The message alone, which Envoy sends as ``grpc-message``, and details where the status of gRPC is known."""
    mapper = _document(reply, condition, reply.message, "text/plain")
    if reply.status in _ALWAYS_UNAVAILABLE:
        details = status_details(_UNAVAILABLE, reply.code, reply.message, retry=reply.status in _ASK_AGAIN)
        mapper["headers_to_add"].append(_overwriting(DETAILS, details))
    return mapper


def _mapper(reply: _Reply, shape: ErrorShape, condition: str) -> Doc:
    (_, content_type), *others = shape.headers(reply.status)
    body = shape.body(reply.status, reply.code, reply.message).decode()
    mapper = _document(reply, condition, body, content_type)
    mapper["headers_to_add"] += [_overwriting(name, value) for name, value in others]
    if reply.status == 429:  # whatever limits the rate may say it better
        mapper["headers_to_add"].append(
            {"header": {"key": "retry-after", "value": str(RETRY_SECONDS)}, "append_action": "ADD_IF_ABSENT"}
        )
    return mapper


def _document(reply: _Reply, condition: str, body: str, content_type: str) -> Doc:
    conditions = [f"!response.code_details.startsWith('{NAMESPACE}_')"]
    if reply.details:
        conditions.append(f"response.code_details.contains('{reply.details}')")
    if condition:
        conditions.append(f"({condition})")
    expression = typed(
        "envoy.access_loggers.extension_filters.cel",
        "extensions.access_loggers.filters.cel.v3.ExpressionFilter",
        expression=" && ".join(conditions),
    )
    value = {"default_value": reply.status, "runtime_key": "aimesh.unused"}
    status = {"comparison": {"op": "GE" if reply.or_above else "EQ", "value": value}}
    return {
        "filter": {"and_filter": {"filters": [{"status_code_filter": status}, {"extension_filter": expression}]}},
        "headers_to_add": [_overwriting("server-timing", LOCAL_SERVER_TIMING)],
        "body_format_override": {
            "text_format_source": {"inline_string": body.replace("%", "%%")},
            "content_type": content_type,
        },
    }


def _ours() -> Doc:
    """Immediate responses of the processor keep status, headers and body."""
    expression = typed(
        "envoy.access_loggers.extension_filters.cel",
        "extensions.access_loggers.filters.cel.v3.ExpressionFilter",
        expression=f"response.code_details.startsWith('{NAMESPACE}_')",
    )
    return {
        "filter": {"extension_filter": expression},
        "headers_to_add": [_overwriting("server-timing", LOCAL_SERVER_TIMING)],
    }


def _overwriting(name: str, value: str) -> Doc:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
