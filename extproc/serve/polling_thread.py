"""A thread that asks many servers now and then: those of which decisions must know."""

from __future__ import annotations

import logging
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable
from heapq import heappop, heappush
from itertools import count
from math import inf
from selectors import EVENT_READ, BaseSelector, DefaultSelector
from threading import Event, Thread
from typing import Generic, NamedTuple, TypeVar

from extproc.fetch.steps import Steps, Wait

log = logging.getLogger(__name__)

TIMEOUT = 1.0
"""Seconds that a server has: for a connection, and for all of an answer."""
MAX_OPEN = 64
"""Servers that are asked at a time; others wait until one of these has answered, or has had its time."""
_STOP_PATIENCE = 2.0
"""Seconds; the thread ends as soon as it has the processor, whatever servers do."""

T = TypeVar("T", bound=Hashable)
R = TypeVar("R")


class _Exchange(NamedTuple, Generic[R]):
    steps: Steps[R]
    waits_for: Wait


class PollingThread(ABC, Generic[T, R]):
    """Asks each of ``_items``, again ``interval`` seconds after it has answered, until it is stopped. Those that are
    slow hold up nobody else as long as they are fewer than ``MAX_OPEN``.
    """

    def __init__(self, name: str, interval: float, count_error: Callable[[str], None]) -> None:
        """``name``: of the thread. ``count_error``: counts errors by reason; bugs are ``internal``."""
        self._interval, self._count_error = interval, count_error
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._stopping = Event()
        self._stop_sockets: tuple[socket.socket, ...] = ()
        self._logged: set[type[Exception]] = set()
        self._wanted: set[T] = set()
        self._known: set[T] = set()  # the wanted ones, and others that are still in ``_later``
        self._later: list[tuple[float, int, T]] = []  # a heap; the number keeps items from being compared
        self._order = count()
        self._open: dict[T, _Exchange[R]] = {}

    @abstractmethod
    def _items(self) -> Iterable[T]:
        """What is to be asked from now on; called at every interval."""

    @abstractmethod
    def _ask(self, item: T) -> Steps[R]:
        """Asks one of them, within a time."""

    @abstractmethod
    def _note(self, item: T, outcome: R) -> None:
        """Takes what ``_ask`` has found out."""

    def start(self) -> None:
        """Starts the thread. Raises ``OSError`` where the process may open no more files."""
        self._stop_sockets = socket.socketpair()
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread, closes what it has open, and waits for it."""
        self._stopping.set()
        stopping, stopped = self._stop_sockets
        stopping.close()
        self._thread.join(_STOP_PATIENCE)
        stopped.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._poll()
            except Exception as error:  # whatever it is, the next attempt may do better
                self._note_bug(error)
                self._stopping.wait(self._interval)

    def _poll(self) -> None:
        """Asks until it is stopped."""
        refresh = 0.0
        with DefaultSelector() as selector:
            selector.register(self._stop_sockets[1], EVENT_READ)
            try:
                while not self._stopping.is_set():
                    now = time.monotonic()
                    if now >= refresh:
                        self._refresh(selector, now)
                        refresh = now + self._interval
                    self._begin(selector, now)
                    due = self._later[0][0] if self._later and len(self._open) < MAX_OPEN else inf
                    until = min((exchange.waits_for.until for exchange in self._open.values()), default=inf)
                    ready = selector.select(max(0.0, min(refresh, due, until) - now))
                    self._go_on(selector, {key.data for key, _ in ready})
            finally:
                for exchange in self._open.values():
                    exchange.steps.close()
                self._open.clear()
                self._known.clear()
                self._later.clear()

    def _refresh(self, selector: BaseSelector, now: float) -> None:
        """Begins with what is new, and ends what is no more."""
        items = set(self._items())
        for item in self._open.keys() - items:
            self._take(selector, item).steps.close()
            self._known.discard(item)
        for item in items - self._known:
            heappush(self._later, (now, next(self._order), item))
        self._known |= items
        self._wanted = items

    def _begin(self, selector: BaseSelector, now: float) -> None:
        while self._later and self._later[0][0] <= now and len(self._open) < MAX_OPEN:
            item = heappop(self._later)[2]
            if item in self._wanted:
                self._advance(selector, item, self._ask(item))
            else:
                self._known.discard(item)

    def _go_on(self, selector: BaseSelector, ready: set[T]) -> None:
        """With those whose sockets are ready, or whose time is up."""
        now = time.monotonic()
        for item in [item for item, each in self._open.items() if item in ready or each.waits_for.until <= now]:
            exchange = self._take(selector, item)
            self._advance(selector, item, exchange.steps, overdue=exchange.waits_for.until <= now)

    def _take(self, selector: BaseSelector, item: T) -> _Exchange[R]:
        exchange = self._open.pop(item)
        selector.unregister(exchange.waits_for.connection)
        return exchange

    def _advance(self, selector: BaseSelector, item: T, steps: Steps[R], overdue: bool = False) -> None:
        try:
            try:
                waits_for = steps.throw(TimeoutError("timed out")) if overdue else next(steps)
            except StopIteration as end:
                self._note(item, end.value)
            else:
                selector.register(waits_for.connection, waits_for.event, item)
                self._open[item] = _Exchange(steps, waits_for)
                return
        except Exception as error:
            steps.close()
            self._note_bug(error)
        heappush(self._later, (time.monotonic() + self._interval, next(self._order), item))

    def _note_bug(self, error: Exception) -> None:
        """Counts it, and logs each kind once."""
        self._count_error("internal")
        if type(error) not in self._logged:
            self._logged.add(type(error))
            log.error("%s goes on after an error of ours", self._thread.name, exc_info=error)
