"""Boards in the memory of a test, and pages and endpoints for them."""

from __future__ import annotations

from threading import Lock

from extproc.picking.board import Board, Page, Slot, Wanted
from extproc.picking.board_layout import size
from extproc.picking.endpoint_state import EndpointState
from extproc.picking.loads import EndpointLoads
from extproc.picking.worker_row import WorkerRow
from extproc.policy.metrics_page import PageLoad

PAGE = Page("vllm", "http://10.0.0.1:8000/metrics", 0.1)
A, B, C = "10.0.0.1:8000", "10.0.0.2:8000", "[fd00::1]:8000"


def memory(workers: int = 2) -> memoryview:
    return memoryview(bytearray(size(workers)))


def board(shared: memoryview | None = None, workers: int = 2) -> Board:
    """Of its own memory, or as another process sees ``shared``."""
    return Board(memory(workers) if shared is None else shared, workers, Lock())


def wanted(*addresses: str, timeout: float = 60.0) -> dict[str, Wanted]:
    return {address: Wanted(PAGE, timeout) for address in addresses}


def slot_of(shared: Board, address: str) -> Slot:
    return next(slot for slot in shared.slots() if slot.address == address)


def report(shared: Board, address: str, load: PageLoad, at: float, picked: float = 0.0) -> None:
    shared.report({slot_of(shared, address): (load, at, picked)})


class Row(WorkerRow):
    """A worker's row, with a clock that stands still."""

    def __init__(self, shared: Board, worker: int = 0) -> None:
        self.now = 0.0
        super().__init__(shared, worker, lambda: self.now)

    def loads_at(self, now: float, *endpoints: str) -> EndpointLoads:
        """What is read at a time."""
        self.now = now
        return self.loads(endpoints)

    def described_at(self, now: float, *endpoints: str) -> list[EndpointState]:
        """What is told to people at a time."""
        self.now = now
        return self.describe(endpoints)
