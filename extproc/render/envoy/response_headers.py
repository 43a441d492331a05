"""Headers that clients get with an answer: model, version, pool, cohort ``fallback``, and ``server-timing``."""

from __future__ import annotations

from extproc import headers
from extproc.render.document import Doc
from extproc.render.envoy.envoy_options import typed

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
            *(
                _response_header(name, pool if name == headers.GPU_POOL else f"%REQ({name})%")
                for name in _ANSWER_HEADERS
            ),
        ],
    }


def response_headers_filter() -> Doc:
    """An HTTP filter that does what ``response_headers`` do, for where routes and virtual hosts can't be changed."""
    fields = response_headers()
    mutations = [{"remove": name} for name in fields["response_headers_to_remove"]]
    mutations += [{"append": header} for header in fields["response_headers_to_add"]]
    kind = "extensions.filters.http.header_mutation.v3.HeaderMutation"
    return typed("aimesh.answer", kind, mutations={"response_mutations": mutations})


def _response_header(name: str, value: str) -> Doc:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
