"""Load reports of model servers, from a response header or from a metrics page.

Sources: ORCA load reports as Envoy has them (xds/data/orca/v3, response header ``endpoint-load-metrics``), which vLLM
and Triton send where the request has ``endpoint-load-metrics-format``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from extproc.policy.gpu_page import GpuPage
from extproc.policy.metrics_page import read_page
from extproc.policy.pool_load import ServerLoad

LOAD_HEADER, LOAD_FORMAT_HEADER = "endpoint-load-metrics", "endpoint-load-metrics-format"
"""The response header, and the request header that asks for it: ``JSON`` or ``TEXT``."""
ORCA_SERVER_TYPES = ("vllm", "triton", "trtllm")
"""Types of model servers that send the response header."""
_MAX_HEADER_LENGTH = 4096
"""Characters of the response header that are read."""

_WAITING_METRICS = ("num_requests_waiting",)
_CACHE_METRICS = ("kv_cache_usage_perc", "kv_cache_utilization", "gpu_cache_usage_perc")


class _Orca(msgspec.Struct):
    named_metrics: dict[str, float] = {}


_decode = msgspec.json.Decoder(_Orca).decode


def parse_load_header(text: str) -> ServerLoad | None:
    """The load in the header ``endpoint-load-metrics``; None where it has none of the metrics."""
    form, _, rest = text[:_MAX_HEADER_LENGTH].strip().partition(" ")
    match form.upper():
        case "JSON":
            try:
                named: Mapping[str, float] = _decode(rest).named_metrics
            except (msgspec.DecodeError, RecursionError):
                return None
        case "TEXT":
            named = dict(_parse_pairs(rest))
        case _:
            return None
    waiting = next((named[name] for name in _WAITING_METRICS if name in named), None)
    return _server_load(waiting, next((named[name] for name in _CACHE_METRICS if name in named), None))


def _parse_pairs(text: str) -> Iterator[tuple[str, float]]:
    for pair in text.split(","):
        name, _, value = pair.partition("=")
        number = _parse_number(value.encode())
        if number is not None:
            yield name.strip().removeprefix("named_metrics."), number


def parse_metrics_page(kind: str, page: bytes) -> ServerLoad | None:
    """The load on a metrics page of a server of the type ``kind``; None where the page has none of its metrics.

    A server with several engines has a series for each: queues are added up, of caches the fullest counts.
    """
    load = read_page(kind, page)
    return _server_load(load.waiting, load.cache, load.gpu)


def parse_gpu_page(page: bytes) -> ServerLoad | None:
    """The utilization of GPUs on the page of their exporter; None where the page has none that is known."""
    return _server_load(None, None, GpuPage.read(page).utilization)


def _parse_number(text: bytes) -> float | None:
    """The number, if it is from 0 to below 1e9 (no NaN)."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < 1e9 else None


def _server_load(waiting: float | None, cache: float | None, gpu: float | None = None) -> ServerLoad | None:
    waiting = waiting if waiting is not None and 0 <= waiting < 1e9 else None
    cache = cache if cache is not None and 0 <= cache <= 1 else None
    found = ServerLoad(waiting, cache, gpu if gpu is not None and 0 <= gpu <= 1 else None)
    return None if found == ServerLoad() else found
