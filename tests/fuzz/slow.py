"""The search for slow inputs: the CPU time of whatever is made to be slow, of any size and in any pieces.

A finding is the worst of its reader, by its share of the time that an input of its size may take.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from extproc.answers.wire.decoder import BYTES_PER_EVENT, BYTES_PER_MESSAGE, BYTES_PER_PACKED_EVENT
from tests.fuzz import slow_answers, slow_requests
from tests.fuzz.mutations import mutated

BASE, BYTE, EACH = 4e-3, 18e-9, 100e-6
"""Seconds that any input may take, and more for each byte and each piece: 5 ms for 64 KiB, 150 ms for 8 MiB."""
EVENT, MESSAGE = 10e-6, 5e-6
"""Seconds for each event of an answer, and each message of gRPC, of which it may be made and nothing else."""
PIECES = (0, 0, 0, 65_536, 16_384, 4096, 1000, 100)
LARGEST = 1 << 20


class Finding(NamedTuple):
    """The time of one input."""

    seconds: float
    size: int
    pieces: int
    name: str
    byte: float

    @property
    def share(self) -> float:
        """Of the time that it may take."""
        return self.seconds / (BASE + self.byte * self.size + EACH * self.pieces)


class Search:
    """The worst that was found of each reader."""

    def __init__(self) -> None:
        self.worst: dict[str, Finding] = {}
        self.count = 0
        self._names = [*slow_requests.REQUESTS, *slow_answers.ANSWERS]

    def look(self, which: int, size: int, pieces: int, how: bytes) -> None:
        """Times one input: of which kind, of how many bytes, in what pieces, and how it is changed."""
        name = self._names[which % len(self._names)]
        size = 1 + size % LARGEST if pieces % 8 > 2 else 1 + size % 65_536
        piece = PIECES[pieces % len(PIECES)]
        work: Callable[[], object]
        if name in slow_requests.REQUESTS:
            if name.startswith(("head", "target")):
                size = min(size, 60_000)  # Envoy takes no larger head
            request = slow_requests.REQUESTS[name](size)
            request = request._replace(body=mutated(request.body, how))
            wire, work = len(request.body) + len(request.path), partial(slow_requests.play, request, piece)
            byte = BYTE
        else:
            answer = slow_answers.ANSWERS[name](size)
            answer = answer._replace(body=mutated(answer.body, how))
            wire, work = len(answer.body), partial(slow_answers.play, answer, piece)
            byte = EVENT / BYTES_PER_EVENT
            if slow_answers.is_packed(answer):
                byte = EVENT / BYTES_PER_PACKED_EVENT
            elif reader_of(name) == "grpc":
                byte = MESSAGE / BYTES_PER_MESSAGE
        seconds = min(_timed(work) for _ in range(2))
        self.count += 1
        found = Finding(seconds, wire, wire // piece + 1 if piece else 1, name, byte)
        reader = reader_of(name)
        if reader not in self.worst or found.share > self.worst[reader].share:
            self.worst[reader] = found

    def report(self) -> str:
        """A line for each reader, the worst first."""
        lines = [
            f"The slowest of {self.count} inputs, by reader: share of the time allowed, CPU time, bytes, pieces, what"
        ]
        for _, found in sorted(self.worst.items(), key=lambda item: -item[1].share):
            lines.append(
                f"{found.share:6.2f} {found.seconds * 1e3:8.2f} ms {found.size:9} {found.pieces:6}  {found.name}"
            )
        return "\n".join(lines)


def reader_of(name: str) -> str:
    """Of an input's name."""
    return name.partition(",")[0]


def _timed(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started
