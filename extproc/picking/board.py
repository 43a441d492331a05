"""The board: memory that all processes of a replica share, with the load of every endpoint and what was sent there.

An endpoint has a slot for as long as a process wants it. Each number has one writer: reports the collector, counts the
worker in whose row they stand, losses the keeper (``lost_ends``); who has which slot is changed under a lock. Reports
are behind a sequence lock: readers never wait, and look again where the collector wrote meanwhile. On processors that
reorder stores they may then see a mixture of two reports of one server, and nothing worse: slots pass to another
endpoint only when no process wants the former one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from math import inf, nan, prod
from types import MappingProxyType
from typing import TypeAlias, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from extproc.picking.board_layout import (
    ADAPTERS,
    ADAPTERS_AT,
    ALIGNMENT,
    GENERATION,
    GPU,
    GPU_UNTIL,
    HEADER,
    NOBODY,
    NUMBERS,
    PICKED,
    PICKED_AT_REPORT,
    RECORD,
    REPORT,
    REPORTED_AT,
    SEQUENCE,
    SLOTS,
)
from extproc.picking.loads import STALE_AFTER
from extproc.policy.metrics_page import PageLoad

Floats: TypeAlias = NDArray[np.float64]

_EMPTY = np.array([nan, nan, nan, nan, nan, -inf, 0.0, 0.0, -inf])
_MAX_LOOKS = 50
S = TypeVar("S", bound=np.generic)


class Page(msgspec.Struct, frozen=True, array_like=True):
    """A metrics page."""

    kind: str
    """Type of the server."""
    url: str
    interval: float
    """Seconds between two looks at it."""


class GpuSource(msgspec.Struct, frozen=True, array_like=True):
    """An exporter's page, and whose GPUs on it are meant."""

    url: str
    pod: str = ""
    """``namespace/name``; empty: all GPUs of the page."""


class Wanted(msgspec.Struct, frozen=True, array_like=True):
    """What a process wants of an endpoint."""

    page: Page | None = None
    timeout: float = inf
    """Seconds after which a request has ended, whether or not somebody was told."""
    gpus: GpuSource | None = None
    """None: what its own page says of its GPUs counts."""


class Slot(msgspec.Struct, frozen=True):
    """An endpoint on the board."""

    number: int
    tenancy: int
    """Counts the endpoints that had the slot."""
    address: str
    wanted: Wanted


class Board:
    """The memory, seen by one process."""

    def __init__(self, memory: memoryview, workers: int, lock: AbstractContextManager[object]) -> None:
        """``memory``: of ``size(workers)`` bytes, all zero at first. ``lock``: excludes other threads and processes."""
        self.workers, self._lock = workers, lock
        parts = _Parts(memory)
        self._header = parts.take(np.int64, HEADER)
        self.numbers: Floats = parts.take(np.float64, NUMBERS)
        self.reports: Floats = parts.take(np.float64, REPORT, SLOTS)
        self.losses: Floats = parts.take(np.float64, 2, SLOTS)
        self.counts: Floats = parts.take(np.float64, workers, 2, SLOTS)
        self._tenancies = parts.take(np.int64, SLOTS)
        self._wanted_by = parts.take(np.uint8, workers, SLOTS)
        self._records = parts.take(np.uint8, SLOTS, RECORD)
        self._adapters = parts.take(np.uint8, SLOTS, ADAPTERS)
        self.reports[:, NOBODY] = _EMPTY

    @property
    def generation(self) -> int:
        """Counts changes of who is on the board."""
        return int(self._header[GENERATION])

    def slots(self) -> list[Slot]:
        """The endpoints that some process wants."""
        with self._lock:
            return [slot for slot in self._slots() if self._wanted_by[:, slot.number].any()]

    def claim(self, worker: int, wanted: Mapping[str, Wanted]) -> dict[str, int]:
        """Has the board hold these addresses for a worker, and no others for it. Returns their slots, without those for
        which there is no room.
        """
        with self._lock:
            known = {slot.address: slot for slot in self._slots()}
            found = {address: known[address].number for address in wanted if address in known}
            mine = self._wanted_by[worker]
            mine[:] = 0
            mine[list(found.values())] = 1
            free = self._free()
            for address, want in wanted.items():
                record = msgspec.msgpack.encode((address, want))
                if len(record) > RECORD - 2:
                    record = msgspec.msgpack.encode((address, Wanted(timeout=want.timeout)))
                if address not in found and len(record) <= RECORD - 2 and (number := next(free, NOBODY)):
                    found[address] = number
                    self._empty(number)
                if place := found.get(address):
                    mine[place] = 1
                    if record != _read(self._records[place]):
                        _write(self._records[place], record)
            self._header[GENERATION] += 1
            return found

    def _slots(self) -> Iterator[Slot]:
        for number in np.flatnonzero(self._records[:, :2].any(axis=1)).tolist():
            address, wanted = _decode_record(_read(self._records[number]))
            yield Slot(number, int(self._tenancies[number]), address, wanted)

    def _free(self) -> Iterator[int]:
        """Slots that nobody wants, those first that nobody had: who is wanted again soon has lost nothing."""
        used = self._records[:, :2].any(axis=1)
        for had in (False, True):
            yield from np.flatnonzero(~self._wanted_by.any(axis=0) & (used == had))[0 if had else 1 :].tolist()

    def _empty(self, number: int) -> None:
        self._tenancies[number] += 1
        self.reports[:, number] = _EMPTY
        self.losses[:, number] = 0.0
        self.counts[:, :, number] = 0.0
        self._adapters[number, :2] = 0

    def begin_reports(self) -> None:
        """The collector has begun: its predecessor may have ended while it wrote."""
        self._header[SEQUENCE] += self._header[SEQUENCE] & 1

    def report(
        self,
        reports: Mapping[Slot, tuple[PageLoad, float, float]],
        gpus: Mapping[Slot, tuple[float, float]] = MappingProxyType({}),
    ) -> None:
        """What pages tell, with ``REPORTED_AT`` and ``PICKED_AT_REPORT``. ``gpus``: what exporters tell of GPUs, with
        ``GPU_UNTIL``.
        """
        self._header[SEQUENCE] += 1
        for slot, (load, reported_at, picked) in reports.items():
            if self._tenancies[slot.number] != slot.tenancy:
                continue
            numbers = (load.waiting, load.running, load.cache, load.block_size)
            mine = self.reports[:, slot.number]
            mine[:GPU] = [nan if number is None else number for number in numbers]
            if slot.wanted.gpus is None:
                mine[GPU] = nan if load.gpu is None else load.gpu
                mine[GPU_UNTIL] = reported_at + STALE_AFTER
            mine[REPORTED_AT], mine[PICKED_AT_REPORT] = reported_at, picked
            if load.adapters or load.loading or mine[ADAPTERS_AT]:
                names = _fitting(load.adapters | load.loading)
                if names != _read(self._adapters[slot.number]):
                    _write(self._adapters[slot.number], names)
                    mine[ADAPTERS_AT] += 1
        for slot, (share, until) in gpus.items():
            if self._tenancies[slot.number] == slot.tenancy:
                self.reports[GPU, slot.number], self.reports[GPU_UNTIL, slot.number] = share, until
        self._header[SEQUENCE] += 1

    def consistent(self) -> Iterator[None]:
        """Turns of a reader, which reads all anew in each: until nobody has written meanwhile, and ``_MAX_LOOKS`` at
        most, as where a collector was killed while it wrote.
        """
        for _ in range(_MAX_LOOKS):
            before = self._header[SEQUENCE]
            yield
            if not before & 1 and self._header[SEQUENCE] == before:
                return

    def picked(self) -> Floats:
        """What all workers have sent to each slot."""
        sums: Floats = self.counts[:, PICKED].sum(axis=0)
        return sums

    def adapters(self, number: int) -> frozenset[str]:
        """Names that the endpoint has loaded or is loading."""
        return frozenset(_read(self._adapters[number]).decode(errors="replace").split(",")) - {""}


class _Parts:
    """Arrays one after the other, each at a multiple of 64 bytes."""

    def __init__(self, memory: memoryview) -> None:
        self._memory, self._end = memory, 0

    def take(self, kind: type[S], *shape: int) -> NDArray[S]:
        begin, count = self._end, prod(shape)
        self._end = -(-(begin + count * np.dtype(kind).itemsize) // ALIGNMENT) * ALIGNMENT
        return np.frombuffer(self._memory, kind, count, begin).reshape(shape)


_decode_record = msgspec.msgpack.Decoder(tuple[str, Wanted]).decode


def _write(place: NDArray[np.uint8], text: bytes) -> None:
    """Whoever is killed meanwhile leaves nothing there, and not half of it."""
    place[:2] = 0
    place[2 : 2 + len(text)] = np.frombuffer(text, np.uint8)
    place[:2] = divmod(len(text), 256)


def _read(place: NDArray[np.uint8]) -> bytes:
    length = int(place[0]) * 256 + int(place[1])
    return place[2 : 2 + length].tobytes()


def _fitting(names: frozenset[str]) -> bytes:
    """The names, without those for which there is no room."""
    text = b""
    for name in sorted(names):
        longer = text + b"," * bool(text) + name.encode()
        if len(longer) <= ADAPTERS - 2:
            text = longer
    return text
