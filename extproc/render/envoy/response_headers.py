"""Headers that clients get with an answer: model, version, pool, cohort ``fallback``, and ``server-timing``."""

from __future__ import annotations

from extproc import headers
from extproc.render.document import Doc

_ANSWER_HEADERS = (headers.MODEL_NAME, headers.MODEL_VERSION, headers.GPU_POOL, headers.MODEL_COHORT)
_SERVER_TIMING = (
    "route;dur=%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:ms)%, "
    "upstream;dur=%COMMON_DURATION(US_TX_BEG:US_RX_BEG:ms)%, "
    "total;dur=%RESPONSE_DURATION%"
)


def response_headers(pool: str = f"%REQ({headers.GPU_POOL})%") -> Doc:
    """Fields of a route or virtual host that name model, version and pool to the client, and ``server-timing``.
    ``pool``: where Envoy reads the pool that answered; by default, the one that was decided.

    Envoy omits headers with empty values, and removes before it adds: headers of these names that the upstream sets
    never reach the client.
    """
    return {
        "response_headers_to_remove": ["server-timing", *_ANSWER_HEADERS],
        "response_headers_to_add": [
            _response_header("server-timing", _SERVER_TIMING),
            *(_response_header(name, f"%REQ({name})%") for name in _ANSWER_HEADERS if name != headers.GPU_POOL),
            _response_header(headers.GPU_POOL, pool),
        ],
    }


def _response_header(name: str, value: str) -> Doc:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
