"""Polls the metrics pages of GPU pools for how busy the pools are."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from extproc.errors import cause
from extproc.fetch.steps import Steps, get
from extproc.fetch.url import parse
from extproc.policy.load_report import parse_gpu_page, parse_metrics_page
from extproc.policy.pool_load import PoolLoads, ServerLoad
from extproc.policy.snapshot import GpuPool, Snapshot
from extproc.serve.polling_thread import TIMEOUT, PollingThread
from extproc.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

INTERVAL = 1.0
"""Seconds between two polls of a pool."""
MAX_PAGE = 1 << 20
"""Bytes. The load on a larger page is not known."""


class _Page(NamedTuple):
    """A page to poll."""

    pool: str
    kind: str
    """Type of the model servers; empty: an exporter of GPUs."""
    url: str


class PoolFeed(PollingThread[_Page, "ServerLoad | str"]):
    """A thread that polls the pages that GPU pools name, and notes its load in ``loads``.

    A pool that can't be read counts as the error ``pool_metrics``, and is logged once until it can be read again.
    """

    def __init__(
        self, snapshot: Callable[[], Snapshot], loads: PoolLoads, metrics: Metrics, *, interval: float = INTERVAL
    ) -> None:
        super().__init__("pool-feed", interval, metrics.count_error)
        self._snapshot = snapshot
        self._loads = loads
        self._metrics = metrics
        self._failing: set[_Page] = set()

    def _items(self) -> Iterable[_Page]:
        pages = [page for pool in self._snapshot().pools for page in _pages(pool)]
        self._failing.intersection_update(pages)
        return pages

    def _ask(self, item: _Page) -> Steps[ServerLoad | str]:
        return _fetch_load(item)

    def _note(self, item: _Page, outcome: ServerLoad | str) -> None:
        page, load = item, outcome
        if isinstance(load, ServerLoad):
            self._loads.note(page.pool, load, time.perf_counter())
            if page in self._failing:
                self._failing.discard(page)
                log.info("the pool %s tells its load again", page.pool)
            return
        self._metrics.count_error("pool_metrics")
        if page not in self._failing:
            self._failing.add(page)
            log.warning("the load of the pool %s is not known: %s", page.pool, load)


def _pages(pool: GpuPool) -> Iterator[_Page]:
    if pool.metrics_url:
        yield _Page(pool.name, pool.metrics_type, pool.metrics_url)
    if pool.gpu_metrics_url:
        yield _Page(pool.name, "", pool.gpu_metrics_url)


def _fetch_load(page: _Page) -> Steps[ServerLoad | str]:
    """The load; or, as text, why it is not known."""
    try:
        answer = yield from get(parse(page.url), TIMEOUT, MAX_PAGE)
    except (OSError, ValueError) as error:
        return cause(error)
    if answer.status != 200:
        return f"status {answer.status}"
    if not page.kind:
        return parse_gpu_page(answer.body) or "no utilization of GPUs is on the page"
    return parse_metrics_page(page.kind, answer.body) or f"none of the metrics of {page.kind} is on the page"
