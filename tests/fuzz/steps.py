"""Counts steps: the lines of ours that run, and the calls that are made, of Python's functions and of those in C.

A count is the same on any machine, however busy. What compiled modules do within themselves is not seen: where they
are compiled it counts less.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def steps(work: Callable[[], object]) -> int:
    """The steps that ``work`` takes."""
    total = 0

    def line(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal total
        total += 1
        return line

    def entered(frame: FrameType, event: str, argument: Any) -> Any:
        return line(frame, event, argument) if "/extproc/" in frame.f_code.co_filename else None

    def called(frame: FrameType, event: str, _: Any) -> None:
        nonlocal total
        total += event in ("call", "c_call")

    before = sys.gettrace(), sys.getprofile()
    sys.settrace(entered)
    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(before[1])
        sys.settrace(before[0])
    return total
