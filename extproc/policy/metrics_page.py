"""The metrics pages of model servers, in Prometheus' text format: what they tell of a server's load.

Pages come from servers that are not trusted: reading takes time in proportion to their bytes, however they are made,
and a page has ``MAX_SERIES`` at most. Sources: the lists of metrics in the servers' manuals; Gateway API Inference
Extension, proposal 003 (model server protocol), for what they mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from math import inf
from statistics import fmean
from typing import NamedTuple

import msgspec


class PageMetrics(NamedTuple):
    """Where a type of server tells what; of several names the first one found counts. ``name{label="value"}``: only the
    series with this label.
    """

    waiting: tuple[bytes, ...]
    """Requests that wait for a place in a batch."""
    cache: tuple[bytes, ...] = ()
    """Used share of the KV cache."""
    running: tuple[bytes, ...] = ()
    """Requests in a batch."""
    block: tuple[bytes, ...] = ()
    """Tokens of a block of the KV cache: the value, or the label behind the name, as in ``name/label``."""
    adapters: tuple[bytes, ...] = ()
    """LoRA adapters, in labels; the value is the time at which they were told."""


PAGE_METRICS: dict[str, PageMetrics] = {
    "vllm": PageMetrics(
        (b"vllm:num_requests_waiting",),
        (b"vllm:kv_cache_usage_perc", b"vllm:gpu_cache_usage_perc"),
        (b"vllm:num_requests_running",),
        (b"vllm:cache_config_info/block_size",),
        (b"vllm:lora_requests_info",),
    ),
    "sglang": PageMetrics(
        (b"sglang:num_queue_reqs",),
        (b"sglang:token_usage",),
        (b"sglang:num_running_reqs",),
        (b"sglang:cache_config_info/page_size",),
    ),
    "tgi": PageMetrics((b"tgi_queue_size",), running=(b"tgi_batch_current_size",)),
    "triton": PageMetrics(
        (b'nv_trt_llm_request_metrics{request_type="waiting"}', b"nv_inference_pending_request_count"),
        (b'nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction"}',),
        (b'nv_trt_llm_request_metrics{request_type="scheduled"}',),
        (b'nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="tokens_per"}',),
    ),
    "trtllm": PageMetrics(
        (b"trtllm_num_requests_waiting",),
        (b"trtllm_kv_cache_utilization",),
        (b"trtllm_num_requests_running",),
        (b"trtllm_kv_cache_tokens_per_block",),
    ),
    "nim": PageMetrics(
        (b"num_requests_waiting",),
        (b"kv_cache_usage_perc", b"gpu_cache_usage_perc"),
        (b"num_requests_running",),
    ),
}
"""By type of server."""

_GPU_METRICS: dict[bytes, float] = {
    b"DCGM_FI_PROF_GR_ENGINE_ACTIVE": 1,
    b"DCGM_FI_DEV_GPU_UTIL": 100,
    b"nv_gpu_utilization": 1,
    b"nvidia_smi_utilization_gpu_ratio": 1,
    b"gpu_gfx_activity": 100,
}
"""Metrics of how busy a GPU is, and their value at full use; the first one found counts. NVIDIA's DCGM exporter, the
NVML's numbers of Triton and of nvidia_gpu_exporter, AMD's device metrics exporter."""

MAX_SERIES = 1000
"""Series of these metrics on a page; of one with more nothing is known."""
MAX_ADAPTERS, _MAX_ADAPTER_NAME = 64, 256
"""Adapters that are kept, and characters of a name."""
READ_WHOLE_EVERY = 10
"""Pages of which ``PageReader`` reads one as a whole."""
_SLACK = 512
"""Bytes by which lines may have moved from one page to the next."""
_MAX_NUMBER = 64
"""Characters of a number."""
_LABEL = re.compile(rb'(?<!\w)([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')


class PageLoad(msgspec.Struct, frozen=True):
    """What a page tells; None: it does not say."""

    waiting: float | None = None
    running: float | None = None
    cache: float | None = None
    """0 to 1, of the fullest engine."""
    gpu: float | None = None
    """Share of the time in which the GPUs were busy, 0 to 1, on the average."""
    block_size: float | None = None
    """Tokens."""
    adapters: frozenset[str] = frozenset()
    """LoRA adapters that are loaded."""
    loading: frozenset[str] = frozenset()
    """Those that requests wait for."""


NOTHING = PageLoad()


class _Series(NamedTuple):
    """A line."""

    name: bytes
    labels: bytes
    value: float
    start: int
    end: int


def read_page(kind: str, page: bytes) -> PageLoad:
    """The load on a page of a server of the type ``kind``."""
    return PageReader(kind).read(page)


def read_utilization(page: bytes) -> float | None:
    """The average of the GPUs on a page, of 0 to 1; None where it has none that is known."""
    by_name = _by_name(_find(_GPUS, b"\n" + page, MAX_SERIES))
    known = ((_first(by_name, (name,)), full) for name, full in _GPU_METRICS.items())
    return _share(next((fmean(series.value for series in found) / full for found, full in known if found), None))


class PageReader:
    """Reads the pages of one server, one after the other.

    Of most it reads only where the lines of queue, batch and cache stood before, some hundred bytes of ten thousands:
    as long as it finds as many of each there. Whole ones tell it of what is new.
    """

    def __init__(self, kind: str) -> None:
        self._metrics = PAGE_METRICS[kind]
        self._whole, self._often = _patterns(kind)
        self._known: list[bytes] = []
        """Names of the lines in the part."""
        self._part = slice(0, 0)
        self._until_whole = 0
        self._last = NOTHING

    def read(self, page: bytes) -> PageLoad:
        """What the page tells."""
        if self._until_whole:
            self._until_whole -= 1
            part = page[self._part] if self._part.start else b"\n" + page[self._part]
            found = _find(self._often, part, len(self._known))
            cut_off = bool(found) and found[-1].end == len(part) and self._part.stop < len(page)
            if not cut_off and [series.name for series in found] == self._known:
                self._last = msgspec.structs.replace(self._last, **self._busy(_by_name(found)))
                return self._last
        return self._read_whole(page)

    def _read_whole(self, page: bytes) -> PageLoad:
        found = _find(self._whole, b"\n" + page, MAX_SERIES)
        often = {_name(selector) for selectors in self._metrics[:3] for selector in selectors}
        lines = [series for series in found if series.name in often]
        self._until_whole = READ_WHOLE_EVERY - 1 if lines else 0
        if lines:
            self._known = [series.name for series in lines]
            self._part = slice(max(0, lines[0].start - _SLACK), lines[-1].end + _SLACK)
        by_name = _by_name(found)
        adapters, loading = _adapters(_first(by_name, self._metrics.adapters, below=inf))
        self._last = PageLoad(
            **self._busy(by_name),
            gpu=read_utilization(page),
            block_size=_block_size(by_name, self._metrics.block),
            adapters=adapters,
            loading=loading,
        )
        return self._last

    def _busy(self, by_name: Mapping[bytes, Sequence[_Series]]) -> dict[str, float | None]:
        """What changes with every page."""
        waiting, cache, running = (_first(by_name, names) for names in self._metrics[:3])
        fullest = max((series.value for series in cache), default=None)
        return {"waiting": _sum(waiting), "running": _sum(running), "cache": _share(fullest)}


@lru_cache(maxsize=len(PAGE_METRICS))
def _patterns(kind: str) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Lines of all metrics of this type of server, and of those that change with every page."""
    metrics = PAGE_METRICS[kind]
    often = [_name(selector) for selectors in metrics[:3] for selector in selectors]
    seldom = [_name(selector) for selectors in metrics[3:] for selector in selectors]
    return _lines([*often, *seldom]), _lines(often)


def _lines(names: Iterable[bytes]) -> re.Pattern[bytes]:
    """Lines of these metrics: name, labels and value. A label's value may have a brace, so labels end at the last."""
    return re.compile(rb"\n(%s)(?:\{([^\n]*)\}| )[ \t]*(\S*)" % b"|".join(map(re.escape, dict.fromkeys(names))))


_GPUS = _lines(_GPU_METRICS)


def _name(selector: bytes) -> bytes:
    return selector.partition(b"{")[0].partition(b"/")[0]


def _find(lines: re.Pattern[bytes], text: bytes, most: int) -> list[_Series]:
    """The series, each behind the end of a line; none where there are more than ``most``."""
    matches = list(islice(lines.finditer(text), most + 1))
    if len(matches) > most:
        return []
    return [
        _Series(match[1], match[2] or b"", number, match.start(), match.end())
        for match in matches
        if (number := _parse_number(match[3])) is not None
    ]


def _by_name(found: Iterable[_Series]) -> dict[bytes, list[_Series]]:
    by_name: dict[bytes, list[_Series]] = {}
    for series in found:
        by_name.setdefault(series.name, []).append(series)
    return by_name


def _first(by_name: Mapping[bytes, Sequence[_Series]], selectors: Iterable[bytes], below: float = 1e9) -> list[_Series]:
    """The series of the first selector that has any, with values ``below`` a number."""
    for selector in selectors:
        name, _, label = selector.partition(b"{")
        label = label.removesuffix(b"}")
        known = by_name.get(_name(name), ())
        if found := [series for series in known if series.value < below and label in series.labels]:
            return found
    return []


def _sum(found: Sequence[_Series]) -> float | None:
    """Of all engines, data-parallel ranks and models. Ranks of one engine's tensor and pipeline parallelism tell the
    same requests: of those the most counts. (Without ``dp_rank`` SGLang's tensor ranks are the data-parallel ones.)
    """
    if len(found) < 2:
        return found[0].value if found else None
    total, engines = 0.0, dict[frozenset[tuple[bytes, bytes]], float]()
    for series in found:
        labels = dict(_LABEL.findall(series.labels))
        ranks = labels.keys() & ({b"pp_rank", b"tp_rank"} if b"dp_rank" in labels else {b"pp_rank"})
        if ranks:
            engine = frozenset(item for item in labels.items() if item[0] not in ranks)
            engines[engine] = max(series.value, engines.get(engine, 0.0))
        else:
            total += series.value
    total += sum(engines.values())
    return total if total < 1e9 else None


def _block_size(by_name: Mapping[bytes, Sequence[_Series]], selectors: Sequence[bytes]) -> float | None:
    found = _first(by_name, selectors)
    if not found:
        return None
    _, _, label = selectors[0].partition(b"/")
    size = _parse_number(dict(_LABEL.findall(found[0].labels)).get(label, b"")) if label else found[0].value
    return size if size is not None and 1 <= size <= 1 << 20 else None


def _adapters(found: Sequence[_Series]) -> tuple[frozenset[str], frozenset[str]]:
    """Loaded and awaited adapters, by the newest of the series: those of former sets stay on the page."""
    if not found:
        return frozenset(), frozenset()
    newest = max(found, key=lambda series: series.value)
    labels = dict(_LABEL.findall(newest.labels))
    return _names(labels.get(b"running_lora_adapters", b"")), _names(labels.get(b"waiting_lora_adapters", b""))


def _names(text: bytes) -> frozenset[str]:
    names = (name.strip() for name in text[: MAX_ADAPTERS * _MAX_ADAPTER_NAME].decode(errors="replace").split(","))
    return frozenset(islice((name for name in names if 0 < len(name) <= _MAX_ADAPTER_NAME), MAX_ADAPTERS))


def _parse_number(text: bytes) -> float | None:
    """The number, if it is from 0 to below 1e12 (no NaN): times are in seconds since 1970."""
    try:
        value = float(text if len(text) <= _MAX_NUMBER else b"")
    except ValueError:
        return None
    return value if 0 <= value < 1e12 else None


def _share(value: float | None) -> float | None:
    return value if value is not None and 0 <= value <= 1 else None
