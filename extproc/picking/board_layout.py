"""What stands where on the board, for those too that have not loaded numpy."""

from __future__ import annotations

SLOTS = 2048
"""The first one is nobody's: of endpoints that are not on the board it tells that nothing is known."""
NOBODY = 0
WAITING, RUNNING, CACHE, BLOCK_SIZE, GPU, REPORTED_AT, PICKED_AT_REPORT, ADAPTERS_AT, GPU_UNTIL = range(9)
"""Numbers of a report, the first five in the order of ``loads.ROWS``. ``PICKED_AT_REPORT``: what all workers had sent
there when the page was asked for. ``ADAPTERS_AT``: counts changes of its adapters. ``GPU_UNTIL``: how long what is told
of its GPUs counts, which an exporter may tell, and more seldom."""
REPORT = 9
PICKED, ENDED = range(2)
"""Counts in a worker's row: requests that it sent to an endpoint, and ends that it was told of."""
LOST, PICKED_A_MINUTE_AGO = range(2)
"""Requests whose end nobody was told of; and for people, what the counts were."""
FAILURES = ("connect", "timeout", "http", "status", "metrics")
"""Why a page can't be read: no connection, too slow, no answer of HTTP or one beyond bounds, another status than 200,
none of the metrics."""
CPU, BEAT, READ, FAILED = range(4)
"""The collector's own numbers: seconds of CPU, when it was seen to work, pages read; then pages that failed, by the
reasons in ``FAILURES``."""
NUMBERS = FAILED + len(FAILURES)

SEQUENCE, GENERATION = range(2)
"""Whole numbers at the beginning: of the sequence lock, and of who is on the board."""
HEADER = 8
RECORD, ADAPTERS = 1024, 2048
"""Bytes of an endpoint's record, and of the names of its adapters; each begins with its length in two bytes."""
ALIGNMENT = 64
_PARTS = 8


def size(workers: int) -> int:
    """Bytes of a board."""
    numbers = HEADER + NUMBERS + (REPORT + 2 + 2 * workers + 1) * SLOTS
    return 8 * numbers + (workers + RECORD + ADAPTERS) * SLOTS + _PARTS * ALIGNMENT
