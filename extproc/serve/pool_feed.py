"""Polls the metrics pages of GPU pools for how busy the pools are."""

from __future__ import annotations

import http.client
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread
from urllib.parse import urlsplit

from extproc.policy.load_report import parse_metrics_page
from extproc.policy.pool_load import PoolLoads, ServerLoad
from extproc.policy.snapshot import GpuPool, Snapshot
from extproc.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

INTERVAL = 1.0
"""Seconds between two polls of a pool."""
TIMEOUT = 1.0
"""Seconds that connecting, and each read, may take."""
MAX_PAGE_BYTES = 4 << 20
"""Bytes read of a page; the rest is ignored."""
_MAX_CONCURRENT = 8
"""Pages that are fetched at a time."""


class PoolFeed:
    """A thread that polls every pool whose policy names a metrics URL, and notes its load in ``loads``.

    A pool that can't be read counts as the error ``pool_metrics``, and is logged once until it can be read again.
    """

    def __init__(
        self, snapshot: Callable[[], Snapshot], loads: PoolLoads, metrics: Metrics, *, interval: float = INTERVAL
    ) -> None:
        self._snapshot = snapshot
        self._loads = loads
        self._metrics = metrics
        self._interval = interval
        self._failing: set[str] = set()
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="pool-feed", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread and waits for it."""
        self._stopping.set()
        self._thread.join(2 * TIMEOUT)

    def _run(self) -> None:
        with ThreadPoolExecutor(_MAX_CONCURRENT, thread_name_prefix="pool-feed") as executor:
            while not self._stopping.wait(self._interval):
                pools = [pool for pool in self._snapshot().pools if pool.metrics_url]
                for pool, load in zip(pools, executor.map(_fetch_load, pools), strict=True):
                    self._note(pool, load)

    def _note(self, pool: GpuPool, load: ServerLoad | str) -> None:
        if isinstance(load, ServerLoad):
            self._loads.note(pool.name, load, time.perf_counter())
            if pool.name in self._failing:
                self._failing.discard(pool.name)
                log.info("the pool %s tells its load again", pool.name)
            return
        self._metrics.count_error("pool_metrics")
        if pool.name not in self._failing:
            self._failing.add(pool.name)
            log.warning("the load of the pool %s is not known: %s", pool.name, load)


def _fetch_load(pool: GpuPool) -> ServerLoad | str:
    """The load; or, as text, why it is not known."""
    url = urlsplit(pool.metrics_url)
    connect = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    try:
        connection = connect(url.netloc, timeout=TIMEOUT)
        try:
            connection.request("GET", (url.path or "/") + (f"?{url.query}" if url.query else ""))
            response = connection.getresponse()
            page = response.read(MAX_PAGE_BYTES)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        return str(error) or type(error).__name__
    if response.status != 200:
        return f"status {response.status}"
    return parse_metrics_page(pool.metrics_type, page) or f"none of the metrics of {pool.metrics_type} is on the page"
