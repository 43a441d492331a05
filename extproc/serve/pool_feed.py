"""Asks the metrics pages of GPU pools how busy they are."""

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
"""Seconds between two looks."""
PATIENCE = 1.0
"""Seconds that a page may take."""
MOST = 4 << 20
"""Bytes of a page."""
_AT_ONCE = 8


class LoadFeed:
    """Looks at every pool whose policy names a URL, and notes what it tells."""

    def __init__(
        self, snapshot: Callable[[], Snapshot], loads: PoolLoads, metrics: Metrics, *, interval: float = INTERVAL
    ) -> None:
        self._snapshot = snapshot
        self._loads = loads
        self._metrics = metrics
        self._interval = interval
        self._failing: set[str] = set()
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="load-feed", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread and waits for it."""
        self._stopping.set()
        self._thread.join(2 * PATIENCE)

    def _run(self) -> None:
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="load-feed") as several:
            while not self._stopping.wait(self._interval):
                pools = [pool for pool in self._snapshot().pools if pool.metrics_url]
                for pool, told in zip(pools, several.map(_ask, pools), strict=True):
                    self._note(pool, told)

    def _note(self, pool: GpuPool, told: ServerLoad | str) -> None:
        if isinstance(told, ServerLoad):
            self._loads.note(pool.name, told, time.perf_counter())
            if pool.name in self._failing:
                self._failing.discard(pool.name)
                log.info("the pool %s tells its load again", pool.name)
            return
        self._metrics.count_error("pool_metrics")
        if pool.name not in self._failing:
            self._failing.add(pool.name)
            log.warning("the load of the pool %s is not known: %s", pool.name, told)


def _ask(pool: GpuPool) -> ServerLoad | str:
    """The load, or why it can't be had."""
    url = urlsplit(pool.metrics_url)
    make = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    try:
        connection = make(url.netloc, timeout=PATIENCE)
        try:
            connection.request("GET", (url.path or "/") + (f"?{url.query}" if url.query else ""))
            response = connection.getresponse()
            page = response.read(MOST)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        return str(error) or type(error).__name__
    if response.status != 200:
        return f"status {response.status}"
    return parse_metrics_page(pool.metrics_type, page) or f"none of the metrics of {pool.metrics_type} is on the page"
