"""Boards in the memory of a test, and pages and endpoints for them."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock

from extproc.picking.board import Board, Page, Slot, Wanted, size
from extproc.policy.metrics_page import PageLoad

PAGE = Page("vllm", "http://10.0.0.1:8000/metrics", 0.1)
A, B, C = "10.0.0.1:8000", "10.0.0.2:8000", "[fd00::1]:8000"


def memory(workers: int = 2) -> memoryview:
    return memoryview(bytearray(size(workers)))


def board(shared: memoryview | None = None, workers: int = 2) -> Board:
    """Of its own memory, or as another process sees ``shared``."""
    return Board(memory(workers) if shared is None else shared, workers, Lock())


def wanted(*addresses: str, timeout: float = 60.0) -> Mapping[str, Wanted]:
    return {address: Wanted(PAGE, timeout) for address in addresses}


def slot_of(shared: Board, address: str) -> Slot:
    return next(slot for slot in shared.slots() if slot.address == address)


def report(shared: Board, address: str, load: PageLoad, at: float, picked: float = 0.0) -> None:
    shared.report({slot_of(shared, address): (load, at, picked)})
