"""The metrics pages of model servers, in Prometheus' text format: what they tell of a server's load.

Pages come from servers that are not trusted: reading takes time in proportion to their bytes, however they are made,
and a page has ``page_series.MAX_SERIES`` at most. Sources: the lists of metrics in the servers' manuals; Gateway API
Inference Extension, proposal 003 (model server protocol), for what they mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import msgspec

from extproc.policy.gpu_page import GPU_METRICS, GpuPage
from extproc.policy.page_series import MAX_NUMBER, Series, find_series, lines_of, parse_number, share


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

MAX_ADAPTERS, _MAX_ADAPTER_NAME = 64, 256
"""Adapters that are kept, and characters of a name."""
READ_WHOLE_EVERY = 10
"""Pages of which ``PageReader`` reads one as a whole."""
_SLACK = 512
"""Bytes by which lines may have moved from one page to the next."""
_TIMES = frozenset(name for metrics in PAGE_METRICS.values() for name in metrics.adapters)
"""Metrics whose values are times, in seconds since 1970."""


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


def read_page(kind: str, page: bytes) -> PageLoad:
    """The load on a page of a server of the type ``kind``."""
    return PageReader(kind).read(page)


class PageReader:
    """Reads the pages of one server, one after the other.

    Of most it reads only where the lines of queue, batch and cache stood before, some hundred bytes of ten thousands:
    as long as it finds the same lines there. Whole ones tell it of what is new.
    """

    def __init__(self, kind: str) -> None:
        self._metrics = PAGE_METRICS[kind]
        self._lines, self._often = _patterns(kind)
        self._known: list[tuple[bytes, Series]] = []
        """The lines in the part: what stands before a value, and what was there."""
        self._counts: list[int] = []
        """How often each of the metrics that change with every page begins a line in the part."""
        self._places: list[list[int]] = []
        """Which of them tell of waiting requests, of the cache, and of running requests."""
        self._part = slice(0, 0)
        self._until_whole = 0
        self._last = NOTHING

    def read(self, page: bytes) -> PageLoad:
        """What the page tells."""
        if self._until_whole:
            self._until_whole -= 1
            if (load := self._read_part(page)) is not None:
                self._last = load
                return load
        self._last = self._read_whole(page)
        return self._last

    def _read_part(self, page: bytes) -> PageLoad | None:
        """None where the part is not as it was."""
        part = self._part_of(page)
        if [part.count(begin) for begin in self._often] != self._counts:
            return None
        series, end = [], 0
        for line, known in self._known:
            begin = part.find(line, end)
            end = part.find(b"\n", begin + len(line))
            if end < 0 and self._part.stop >= len(page):
                end = len(part)
            text = part[begin + len(line) : end]
            number = parse_number(text) if 0 <= begin < end and b"}" not in text else None
            if number is None:
                return None
            series.append(Series(known.name, known.labels, number))
        busy = [[series[place] for place in places] for places in self._places]
        last = self._last
        return PageLoad(*_busy(*busy), last.gpu, last.block_size, last.adapters, last.loading)

    def _part_of(self, page: bytes) -> bytes:
        return page[self._part] if self._part.start else b"\n" + page[self._part]

    def _read_whole(self, page: bytes) -> PageLoad:
        found = find_series(self._lines, page, _TIMES)
        busy = [_first(found, selectors) for selectors in self._metrics[:3]]
        lines = [series for series in found if b"\n" + series.name in self._often]
        self._until_whole = READ_WHOLE_EVERY - 1 if lines else 0
        if lines:
            text = b"\n" + page
            self._known = [(text[series.start : series.value_at], series) for series in lines]
            self._places = [[lines.index(series) for series in each] for each in busy]
            self._part = slice(max(0, lines[0].start - _SLACK), lines[-1].end + _SLACK)
            part = self._part_of(page)
            self._counts = [part.count(begin) for begin in self._often]
        adapters, loading = _adapters(_first(found, self._metrics.adapters))
        block = _block_size(_first(found, self._metrics.block), self._metrics.block)
        return PageLoad(*_busy(*busy), GpuPage(found).utilization, block, adapters, loading)


@lru_cache(maxsize=len(PAGE_METRICS))
def _patterns(kind: str) -> tuple[re.Pattern[bytes], tuple[bytes, ...]]:
    """Lines of all metrics of this type of server, and of GPUs; and how those begin that change with every page."""
    metrics = PAGE_METRICS[kind]
    names = dict.fromkeys(_name(selector) for selectors in metrics for selector in selectors)
    often = dict.fromkeys(_name(selector) for selectors in metrics[:3] for selector in selectors)
    return lines_of([*names, *GPU_METRICS]), tuple(b"\n" + name for name in often)


def _name(selector: bytes) -> bytes:
    return selector.partition(b"{")[0].partition(b"/")[0]


def _first(found: Iterable[Series], selectors: Iterable[bytes]) -> list[Series]:
    """The series of the first selector that has any."""
    for selector in selectors:
        name, label = _name(selector), selector.partition(b"{")[2].removesuffix(b"}")
        if mine := [series for series in found if series.name == name and label in series.labels]:
            return mine
    return []


def _busy(
    waiting: Sequence[Series], cache: Sequence[Series], running: Sequence[Series]
) -> tuple[float | None, float | None, float | None]:
    """The first numbers of a ``PageLoad``."""
    fullest = max((series.value for series in cache), default=None)
    return _sum(waiting), _sum(running), share(fullest)


def _sum(found: Sequence[Series]) -> float | None:
    """Of all engines, data-parallel ranks and models. Ranks of one engine's tensor and pipeline parallelism tell the
    same requests: of those the most counts. (Without ``dp_rank`` SGLang's tensor ranks are the data-parallel ones.)
    """
    if len(found) < 2:
        return found[0].value if found else None
    total, engines = 0.0, dict[frozenset[tuple[bytes, bytes]], float]()
    for series in found:
        labels = series.by_label
        ranks = labels.keys() & ({b"pp_rank", b"tp_rank"} if b"dp_rank" in labels else {b"pp_rank"})
        if ranks:
            engine = frozenset(item for item in labels.items() if item[0] not in ranks)
            engines[engine] = max(series.value, engines.get(engine, 0.0))
        else:
            total += series.value
    total += sum(engines.values())
    return total if total < MAX_NUMBER else None


def _block_size(found: Sequence[Series], selectors: Sequence[bytes]) -> float | None:
    if not found:
        return None
    label = selectors[0].partition(b"/")[2]
    size = parse_number(found[0].by_label.get(label, b"")) if label else found[0].value
    return size if size is not None and 1 <= size <= 1 << 20 else None


def _adapters(found: Sequence[Series]) -> tuple[frozenset[str], frozenset[str]]:
    """Loaded and awaited adapters, by the newest of the series: those of former sets stay on the page."""
    if not found:
        return frozenset(), frozenset()
    newest = max(found, key=lambda series: series.value)
    labels = newest.by_label
    return _names(labels.get(b"running_lora_adapters", b"")), _names(labels.get(b"waiting_lora_adapters", b""))


def _names(text: bytes) -> frozenset[str]:
    names = (name.strip() for name in text[: MAX_ADAPTERS * _MAX_ADAPTER_NAME].decode(errors="replace").split(","))
    return frozenset(islice((name for name in names if 0 < len(name) <= _MAX_ADAPTER_NAME), MAX_ADAPTERS))
