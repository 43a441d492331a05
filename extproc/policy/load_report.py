"""What model servers say of their load, by a response header or on a metrics page.

Sources: Envoy's ORCA (xds/data/orca/v3, the header ``endpoint-load-metrics``), which vLLM and Triton answer where a
request asks for it by ``endpoint-load-metrics-format``; the model servers' lists of metrics.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from extproc.policy.pool_load import ServerLoad

HEADER, FORMAT = "endpoint-load-metrics", "endpoint-load-metrics-format"
"""Of the response, and of the request that asks for it: ``JSON`` or ``TEXT``."""
TELL_IN_HEADERS = ("vllm", "triton", "trtllm")
"""Types of model servers that answer it."""
_LONGEST = 4096
"""Bytes of the header."""

_WAITING = ("num_requests_waiting",)
_CACHE = ("kv_cache_usage_perc", "kv_cache_utilization", "gpu_cache_usage_perc")

PAGES: dict[str, tuple[tuple[bytes, ...], tuple[bytes, ...]]] = {
    "vllm": ((b"vllm:num_requests_waiting",), (b"vllm:kv_cache_usage_perc", b"vllm:gpu_cache_usage_perc")),
    "sglang": ((b"sglang:num_queue_reqs",), (b"sglang:token_usage",)),
    "tgi": ((b"tgi_queue_size",), ()),
    "triton": ((b"nv_inference_pending_request_count",), ()),
    "trtllm": ((b"trtllm_num_requests_waiting",), (b"trtllm_kv_cache_utilization",)),
    "nim": ((b"num_requests_waiting",), (b"kv_cache_usage_perc", b"gpu_cache_usage_perc")),
}
"""By type, the names of what waits and of the share of the cache in use; the first that is there counts."""


class _Orca(msgspec.Struct):
    named_metrics: dict[str, float] = {}


_decode = msgspec.json.Decoder(_Orca).decode


def load_from_header(text: str) -> ServerLoad | None:
    """What the header ``endpoint-load-metrics`` tells; None where it tells nothing of use."""
    form, _, rest = text[:_LONGEST].strip().partition(" ")
    match form.upper():
        case "JSON":
            try:
                named: Mapping[str, float] = _decode(rest).named_metrics
            except (msgspec.DecodeError, RecursionError):
                return None
        case "TEXT":
            named = dict(_pairs(rest))
        case _:
            return None
    waiting = next((named[name] for name in _WAITING if name in named), None)
    return _load(waiting, next((named[name] for name in _CACHE if name in named), None))


def _pairs(text: str) -> Iterator[tuple[str, float]]:
    for pair in text.split(","):
        name, _, value = pair.partition("=")
        number = _number(value.encode())
        if number is not None:
            yield name.strip().removeprefix("named_metrics."), number


def load_from_page(kind: str, page: bytes) -> ServerLoad | None:
    """What a metrics page of a model server of this type tells; None where it tells nothing of use.

    A server with several engines has a series for each: what waits is added up, of caches the fullest counts.
    """
    waiting_names, cache_names = PAGES[kind]
    found: dict[bytes, list[float]] = {name: [] for name in (*waiting_names, *cache_names)}
    for line in page.splitlines():
        name = line.partition(b"{")[0].partition(b" ")[0]
        if name in found:
            rest = line[len(name) :]
            values = rest.rpartition(b"}")[2] if rest.startswith(b"{") else rest
            number = _number(next(iter(values.split()), b""))
            if number is not None:
                found[name].append(number)
    waiting = next((sum(found[name]) for name in waiting_names if found[name]), None)
    return _load(waiting, next((max(found[name]) for name in cache_names if found[name]), None))


def _number(text: bytes) -> float | None:
    """One of zero or more, and not beyond all bounds."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < 1e9 else None


def _load(waiting: float | None, cache: float | None) -> ServerLoad | None:
    waiting = waiting if waiting is not None and 0 <= waiting < 1e9 else None
    cache = cache if cache is not None and 0 <= cache <= 1 else None
    return ServerLoad(waiting, cache) if waiting is not None or cache is not None else None
