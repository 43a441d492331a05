"""Pages that the collector reads: those of endpoints, and those of exporters that tell how busy GPUs are."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import ClassVar

from extproc.fetch.kept_connection import KeptConnection
from extproc.fetch.steps import Wait
from extproc.fetch.url import parse
from extproc.picking.board import Floats, Page, Slot
from extproc.policy.gpu_page import GpuPage
from extproc.policy.metrics_page import NOTHING, PageLoad, PageReader

MAX_PAGE, FULL_RATE_PAGE = 1 << 20, 128 << 10
"""Bytes: what a larger page tells is not known; a page larger than the latter is read as much more seldom."""
GPU_INTERVAL, GPU_STALE_AFTER = 2.0, 20.0
"""Seconds between two looks at an exporter's page, and those after which it counts for nothing. Exporters themselves
look at GPUs more seldom, dcgm-exporter each 30 s; the largest page is read each 16 s.
"""


class Findings:
    """What the pages of one turn tell, as ``Board.report`` takes it."""

    def __init__(self) -> None:
        self.pages = 0
        self.loads: dict[Slot, tuple[PageLoad, float, float]] = {}
        self.gpus: dict[Slot, tuple[float, float]] = {}


class PageSource:
    """A page, and how it is asked for."""

    tells: ClassVar[str]

    def __init__(self, url: str, interval: float, buffer: bytearray) -> None:
        """``interval``: seconds between two looks. ``buffer``: as ``KeptConnection`` has it. Raises ``ValueError``
        where the URL is none.
        """
        self.url, self.interval = url, interval
        self.connection = KeptConnection(parse(url), MAX_PAGE, buffer)
        self.asked_at = 0.0
        self.fd = -1
        self.watched: Wait | None = None
        self.failing = self.gone = False

    def begin(self, now: float, picked: Floats) -> None:  # noqa: ARG002 - for endpoints
        """It is asked for. ``picked``: what was sent to each slot until then."""
        self.asked_at = now

    def take(self, page: bytes, findings: Findings) -> str:
        """Adds what it tells; says why that is nothing, and else nothing."""
        raise NotImplementedError


class EndpointSource(PageSource):
    """The page of an endpoint."""

    tells = "load"

    def __init__(self, slot: Slot, page: Page, buffer: bytearray) -> None:
        """As ``PageSource``."""
        super().__init__(page.url, page.interval, buffer)
        self._slot, self._kind = slot, page.kind
        self._reader = PageReader(page.kind)
        self._picked = 0.0

    def begin(self, now: float, picked: Floats) -> None:
        """As ``PageSource``."""
        self.asked_at, self._picked = now, float(picked[self._slot.number])

    def take(self, page: bytes, findings: Findings) -> str:
        """As ``PageSource``."""
        load = self._reader.read(page)
        if load == NOTHING:
            return f"none of the metrics of {self._kind} is on the page"
        findings.loads[self._slot] = load, self.asked_at, self._picked
        return ""


class ExporterSource(PageSource):
    """The page of an exporter, for all endpoints whose GPUs are on it."""

    tells = "GPU utilization"

    def __init__(self, url: str, buffer: bytearray) -> None:
        """As ``PageSource``."""
        super().__init__(url, GPU_INTERVAL, buffer)
        self.slots: Sequence[Slot] = ()
        """Those of the endpoints."""

    def take(self, page: bytes, findings: Findings) -> str:
        """As ``PageSource``."""
        found = GpuPage.read(page)
        if found.utilization is None:
            return "the utilization of no GPU is on the page"
        for slot in self.slots:
            pod = slot.wanted.gpus.pod if slot.wanted.gpus else ""
            share = found.utilization_of(pod) if pod else found.utilization
            findings.gpus[slot] = nan if share is None else share, self.asked_at + GPU_STALE_AFTER
        return ""
