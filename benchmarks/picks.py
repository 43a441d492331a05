"""The cases of endpoints: what it costs to pick one among 16, 100 and 1,000.

In steady state, as under load: the prompts of chats have been seen, so that one endpoint has all of each, and some have
the beginning; the loads were read a moment ago.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import cycle
from random import Random

import numpy as np

from benchmarks.core import ENTROPY, Case
from benchmarks.measure import Timing, verdict
from extproc.picking.candidates import Candidates, Pick, Request
from extproc.picking.loads import EndpointLoads, unknown_table
from extproc.picking.picker import Picker
from extproc.picking.prompt import prompt_of
from extproc.policy.picking import LEAST_LOADED, PREFIX, Picking

GROUP = "endpoints"
BELOW_US = {16: 5.0, 100: 10.0, 1000: 40.0}
"""What a pick among so many endpoints may cost."""
SYSTEM, CHATS = 2048, 64
"""Bytes of the prompt that all chats share; chats."""


def cases() -> list[Case]:
    """Picks by prefix and by load, and what they need."""
    found = [Case(GROUP, "4 KB prompt, hashed", _hashing())]
    for size in BELOW_US:
        found += [
            Case(GROUP, _name(size), _picking(size, PREFIX)),
            Case(GROUP, f"{size:,}, least loaded", _picking(size, LEAST_LOADED)),
            Case(GROUP, f"{size:,}, loads read anew", _reading(size)),
        ]
    return found


def verdicts(timings: Mapping[str, Timing]) -> list[str]:
    """Whether picks cost what they may."""
    return [
        f"Target, a pick among {size:,} endpoints under {below:g} µs: {verdict(timings[_name(size)], below)}."
        for size, below in BELOW_US.items()
    ]


def _name(size: int) -> str:
    return f"{size:,}, by prefix"


def _hashing() -> Callable[[], object]:
    texts = cycle(_texts()).__next__
    return lambda: prompt_of(texts(), Picking().block_bytes, "model")


def _picking(size: int, by: str) -> Callable[[], object]:
    picker, candidates, requests = _served(size, by)
    loads, following = _loads(size), cycle(requests).__next__

    def run() -> None:
        request = following()
        found = picker.pick(candidates, loads, request, ENTROPY)
        assert isinstance(found, Pick)
        picker.sent(found.endpoint, request.prompt, found.matched)

    return run


def _reading(size: int) -> Callable[[], object]:
    """The first pick after the loads were read."""
    picker, candidates, requests = _served(size, PREFIX)
    following, loads = cycle(requests).__next__, cycle([_loads(size), _loads(size)]).__next__
    return lambda: picker.pick(candidates, loads(), following(), ENTROPY)


def _served(size: int, by: str) -> tuple[Picker, Candidates, list[Request]]:
    candidates = Candidates(tuple(f"10.0.{number >> 8}.{number & 255}:8000" for number in range(size)))
    picker, loads = Picker("chat/v1/h100", Picking(by=by)), _loads(size)
    requests = [Request(prompt_of(text, picker.spec.block_bytes, "model"), b"user") for text in _texts()]
    for request in requests:
        found = picker.pick(candidates, loads, request, ENTROPY)
        assert isinstance(found, Pick)
        picker.sent(found.endpoint, request.prompt, found.matched)
    return picker, candidates, requests


def _loads(size: int) -> EndpointLoads:
    table, random = unknown_table(size), np.random.default_rng(1)
    found = EndpointLoads(table)
    found.age[:], found.waiting[:], found.running[:] = 0.1, 0.0, random.integers(0, 20, size)
    return found


def _texts() -> list[bytes]:
    random = Random(1)
    system = random.randbytes(SYSTEM)
    return [system + random.randbytes(4096 - SYSTEM) for _ in range(CHATS)]
