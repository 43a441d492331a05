"""Bodies for Envoy's own error responses, as JSON in the shape of the processor's: what happened, and what to do."""

from __future__ import annotations

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

_MESSAGES = (
    # Status; suffix of Envoy's response code details (empty: any); code; message for the client. The first match wins.
    (413, "", "request_too_large", "The request's body is too large."),
    (408, "", "request_timeout", "The request did not arrive in time."),
    (426, "", "http_version_too_low", _HTTP_1_0),
    (431, "too_many_headers", "too_many_headers", f"The request has more than {MAX_HEADERS} headers: leave some out."),
    (431, "", "headers_too_large", _HEADERS_TOO_LARGE),
    (400, "missing_host_header", "no_host", "The request has no Host header: send one."),
    (403, "upgrade_failed", "upgrade_refused", "The connection can be upgraded to a WebSocket only."),
    (404, "", "not_found", "Nothing is served there: ask for a path that begins with /, and not by CONNECT."),
    (501, "invalid_transfer_encoding", "transfer_encoding", _UNKNOWN_TRANSFER_ENCODING),
    (503, "overload", "overloaded", "The gateway has no memory left for more requests: try again later."),
    (503, "", "no_model_server", "No model server can take this request now."),
    (504, "", "timeout", "There was no answer in time."),
)


def local_replies() -> list[Doc]:
    """Response mappers of ``local_reply_config``, the first that matches wins.

    Immediate responses of the processor are local replies too, but their details begin with ``aimesh_``: no mapper
    matches these.
    """
    mappers = [_mapper(("EQ", status), code, message, details) for status, details, code, message in _MESSAGES]
    mappers.append(_mapper(("GE", 500), "internal_error", "The request could not be served."))
    mappers.append(_mapper(("GE", 400), "bad_request", "The request is not valid HTTP."))
    return mappers


def _mapper(status: tuple[str, int], code: str, message: str, details: str = "") -> Doc:
    operator, value = status
    kind = "server_error" if value >= 500 else "invalid_request_error"
    whose = f"!response.code_details.startsWith('{NAMESPACE}_')"
    own = typed(
        "envoy.access_loggers.extension_filters.cel",
        "extensions.access_loggers.filters.cel.v3.ExpressionFilter",
        expression=f"{whose} && response.code_details.endsWith('{details}')" if details else whose,
    )
    comparison = {"op": operator, "value": {"default_value": value, "runtime_key": "aimesh.unused"}}
    return {
        "filter": {
            "and_filter": {"filters": [{"status_code_filter": {"comparison": comparison}}, {"extension_filter": own}]}
        },
        "body_format_override": {
            "json_format": {"error": {"message": message, "type": kind, "code": code}},
            "content_type": "application/json",
        },
    }
