"""Load reports of model servers, from a response header or from a metrics page.

Sources: ORCA load reports as Envoy has them (xds/data/orca/v3, response header ``endpoint-load-metrics``), which vLLM
and Triton send where the request has ``endpoint-load-metrics-format``; the lists of metrics in the servers' manuals.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from statistics import fmean

import msgspec

from extproc.policy.pool_load import ServerLoad

LOAD_HEADER, LOAD_FORMAT_HEADER = "endpoint-load-metrics", "endpoint-load-metrics-format"
"""The response header, and the request header that asks for it: ``JSON`` or ``TEXT``."""
ORCA_SERVER_TYPES = ("vllm", "triton", "trtllm")
"""Types of model servers that send the response header."""
_MAX_HEADER_LENGTH = 4096
"""Characters of the response header that are read."""

_WAITING_METRICS = ("num_requests_waiting",)
_CACHE_METRICS = ("kv_cache_usage_perc", "kv_cache_utilization", "gpu_cache_usage_perc")

PAGE_METRICS: dict[str, tuple[tuple[bytes, ...], tuple[bytes, ...]]] = {
    "vllm": ((b"vllm:num_requests_waiting",), (b"vllm:kv_cache_usage_perc", b"vllm:gpu_cache_usage_perc")),
    "sglang": ((b"sglang:num_queue_reqs",), (b"sglang:token_usage",)),
    "tgi": ((b"tgi_queue_size",), ()),
    "triton": ((b"nv_inference_pending_request_count",), ()),
    "trtllm": ((b"trtllm_num_requests_waiting",), (b"trtllm_kv_cache_utilization",)),
    "nim": ((b"num_requests_waiting",), (b"kv_cache_usage_perc", b"gpu_cache_usage_perc")),
}
"""By server type: metrics of waiting requests, and of the used share of the KV cache; the first one found counts."""

_GPU_METRICS: dict[bytes, float] = {
    b"DCGM_FI_PROF_GR_ENGINE_ACTIVE": 1,
    b"DCGM_FI_DEV_GPU_UTIL": 100,
    b"nv_gpu_utilization": 1,
    b"nvidia_smi_utilization_gpu_ratio": 1,
    b"gpu_gfx_activity": 100,
}
"""Metrics of how busy a GPU is, and their value at full use; the first one found counts. NVIDIA's DCGM exporter, the
NVML's numbers of Triton and of nvidia_gpu_exporter, AMD's device metrics exporter."""


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
    waiting_names, cache_names = PAGE_METRICS[kind]
    values = _values(page, (*waiting_names, *cache_names, *_GPU_METRICS))
    waiting = next((sum(values[name]) for name in waiting_names if values[name]), None)
    cache = next((max(values[name]) for name in cache_names if values[name]), None)
    return _server_load(waiting, cache, _utilization(values))


def parse_gpu_page(page: bytes) -> ServerLoad | None:
    """The utilization of GPUs on the page of their exporter; None where the page has none that is known."""
    return _server_load(None, None, _utilization(_values(page, tuple(_GPU_METRICS))))


def _utilization(values: Mapping[bytes, list[float]]) -> float | None:
    """The average of the GPUs on a page."""
    return next((fmean(values[name]) / full for name, full in _GPU_METRICS.items() if values[name]), None)


def _values(page: bytes, names: tuple[bytes, ...]) -> dict[bytes, list[float]]:
    """The values of each metric on a page in Prometheus' text format."""
    values: dict[bytes, list[float]] = {name: [] for name in names}
    for name, text in _lines(names).findall(b"\n" + page):
        number = _parse_number(text)
        if number is not None:
            values[name].append(number)
    return values


@lru_cache(maxsize=len(PAGE_METRICS) + 1)
def _lines(names: tuple[bytes, ...]) -> re.Pattern[bytes]:
    """Lines of these metrics: name and value. A label's value may have a brace, so labels end at the last one."""
    return re.compile(rb"\n(%s)(?:\{[^\n]*\}| )[ \t]*(\S*)" % b"|".join(map(re.escape, names)))


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
