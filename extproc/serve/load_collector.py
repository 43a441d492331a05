"""The collector: the process of a replica that reads the metrics pages of endpoints, and of their GPUs' exporters.

What they tell is noted on the board. There is one, whatever the number of workers. It takes turns of some milliseconds,
in each of which it asks whose page is due and reads what has come: answers wait for it, which costs less than waiting
for each of them.
"""

from __future__ import annotations

import logging
import resource
import select
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from heapq import heappop, heappush
from itertools import count
from math import ceil
from selectors import EVENT_READ

from extproc.errors import cause
from extproc.fetch.answer_reader import BadAnswerError
from extproc.fetch.kept_connection import BUFFER_SIZE
from extproc.fetch.steps import Answer
from extproc.picking.board import Board, Slot
from extproc.picking.board_layout import BEAT, CPU, FAILED, FAILURES, READ
from extproc.serve.page_sources import FULL_RATE_PAGE, EndpointSource, ExporterSource, Findings, PageSource
from extproc.serve.shared_board import SharedBoard

log = logging.getLogger("extproc.serve.load_collector")  # it is run as __main__

MIN_TURN, MAX_TURN, TURNS_PER_INTERVAL = 0.01, 0.02, 5
"""Seconds from one turn to the next: a fifth of the shortest interval, within these bounds. The fewer turns, the more
pages share what it costs to awake; answers are read a turn after they were asked for."""
BURST = 100
"""Pages that are asked for together: between two bursts it sleeps, and more of them are spread over their interval."""
_MIN_PAUSE = 0.005
"""Seconds between two turns at least, however long they take."""
TIMEOUT = 1.0
"""Seconds that a source has: for a connection, and for all of an answer."""
RETRY_INTERVAL = 1.0
"""Seconds between two looks at a page that can't be read."""
_MAX_LINES = 40
"""Lines of the log in a minute."""
_FOLLOW_INTERVAL, _OVERDUE_INTERVAL = 0.25, 0.1
"""Seconds between two looks at who is on the board, and for those that have not answered in time."""


class LoadCollector:
    """Used by one thread. Its clock is ``time.monotonic``, as that of all who read reports."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._sources: dict[Slot | str, PageSource] = {}
        """Pages of endpoints by their slots, and of exporters by their URLs."""
        self._due: list[tuple[float, int, PageSource]] = []  # a heap; the number keeps sources from being compared
        self._order = count()
        self._poll = select.epoll()
        self._watched: dict[int, PageSource] = {}
        self._asking: set[PageSource] = set()
        self._findings = Findings()
        self._buffer = bytearray(BUFFER_SIZE)
        self._generation, self._turn = 0, MIN_TURN
        self._follow_at = self._overdue_at = self._minute = 0.0
        self._lines = 0
        self._cpu_before = float(board.numbers[CPU]) - time.process_time()
        board.begin_reports()

    def run(self) -> None:
        """Takes turns for ever."""
        while True:
            began = time.monotonic()
            self.turn()
            following = began + self._turn
            if not self._asking:
                following = max(following, min(self._follow_at, self._due[0][0]) if self._due else self._follow_at)
            time.sleep(max(_MIN_PAUSE, following - time.monotonic()))

    def turn(self) -> None:
        """Asks whose page is due, and reads what has come."""
        now = time.monotonic()
        if now >= self._follow_at:
            self._follow_at = now + _FOLLOW_INTERVAL
            self._follow(now)
        if self._due and self._due[0][0] <= now + self._turn / 2:
            self._ask(now)
        for fd, _ in self._poll.poll(0):
            if source := self._watched.get(fd):
                self._go_on(source, source.connection.step, now)
        if now >= self._overdue_at:
            self._overdue_at = now + _OVERDUE_INTERVAL
            for source in [each for each in self._asking if each.watched and each.watched.until <= now]:
                self._go_on(source, partial(source.connection.step, TimeoutError("timed out")), now)
        if self._findings.pages:
            self._board.numbers[READ] += self._findings.pages
            self._board.report(self._findings.loads, self._findings.gpus)
            self._findings = Findings()

    def close(self) -> None:
        """Closes all connections."""
        for source in self._sources.values():
            self._end(source)
        self._poll.close()

    def _follow(self, now: float) -> None:
        """Who is on the board now."""
        numbers = self._board.numbers
        numbers[BEAT], numbers[CPU] = now, self._cpu_before + time.process_time()
        generation = self._board.generation
        if generation == self._generation:
            return
        self._generation = generation
        wanted: dict[Slot | str, tuple[str, Callable[[], PageSource]]] = {}
        exporters: dict[str, list[Slot]] = {}
        for slot in self._board.slots():
            if slot.wanted.page is not None:
                page = slot.wanted.page
                wanted[slot] = page.url, partial(EndpointSource, slot, page, self._buffer)
            if slot.wanted.gpus is not None:
                exporters.setdefault(slot.wanted.gpus.url, []).append(slot)
        wanted |= {url: (url, partial(ExporterSource, url, self._buffer)) for url in exporters}
        for key in self._sources.keys() - wanted.keys():
            self._end(self._sources.pop(key))
        new = [(key, *made) for key, made in wanted.items() if key not in self._sources]
        for place, (key, url, make) in enumerate(new):
            try:
                source = self._sources[key] = make()
            except ValueError as error:
                self._log(logging.WARNING, "%s is not read: %s", url, error)
                continue
            self._ask_at(source, now + source.interval * (place - place % BURST) / len(new))
        shortest = min((source.interval for source in self._sources.values()), default=0.0)
        self._turn = min(MAX_TURN, max(MIN_TURN, shortest / TURNS_PER_INTERVAL))
        for url, slots in exporters.items():
            if isinstance(exporter := self._sources.get(url), ExporterSource):
                exporter.slots = slots

    def _end(self, source: PageSource) -> None:
        source.gone = True
        self._asking.discard(source)
        self._unwatch(source)
        source.connection.close()

    def _ask_at(self, source: PageSource, due: float) -> None:
        heappush(self._due, (due, next(self._order), source))

    def _ask(self, now: float) -> None:
        picked = self._board.picked()
        while self._due and self._due[0][0] <= now + self._turn / 2:
            source = heappop(self._due)[2]
            if not source.gone:
                source.begin(now, picked)
                self._asking.add(source)
                self._go_on(source, partial(source.connection.ask, now + TIMEOUT), now)

    def _go_on(self, source: PageSource, step: Callable[[], Answer | None], now: float) -> None:
        if source.connection.connecting:
            self._unwatch(source)
        try:
            if (answer := step()) is not None:
                self._note(source, answer, now)
        except OSError as error:
            self._note_failure(source, _reason(error), cause(error), now)
        except Exception as error:  # a bug of ours: this page is not known, others are
            source.connection.close()
            self._note_failure(source, "http", f"{type(error).__name__}: {error}", now)
        self._watch(source)

    def _note(self, source: PageSource, answer: Answer, now: float) -> None:
        if answer.status != 200:
            self._note_failure(source, "status", f"status {answer.status}", now)
            return
        if wrong := source.take(answer.body, self._findings):
            self._note_failure(source, "metrics", wrong, now)
            return
        self._findings.pages += 1
        if source.failing:
            source.failing = False
            self._log(logging.INFO, "%s tells its %s again", source.url, source.tells)
        self._asking.discard(source)
        more = max(1, ceil(len(answer.body) / FULL_RATE_PAGE))
        self._ask_at(source, max(now, source.asked_at + source.interval * more))

    def _note_failure(self, source: PageSource, reason: str, told: str, now: float) -> None:
        self._board.numbers[FAILED + FAILURES.index(reason)] += 1
        if not source.failing:
            source.failing = True
            self._log(logging.WARNING, "the %s at %s is not known: %s", source.tells, source.url, told)
        self._asking.discard(source)
        self._ask_at(source, now + max(RETRY_INTERVAL, source.interval))

    def _log(self, level: int, text: str, *values: object) -> None:
        """Some lines a minute, and no more: where a network breaks, all pages fail together. Metrics count each."""
        minute = time.monotonic() // 60
        if minute != self._minute:
            self._minute, self._lines = minute, 0
        self._lines += 1
        if self._lines <= _MAX_LINES:
            log.log(level, text, *values)
        elif self._lines == _MAX_LINES + 1:
            log.warning("more pages than these; extproc_collector_pages_failed_total counts all")

    def _watch(self, source: PageSource) -> None:
        """What its connection waits for."""
        before, wanted = source.watched, source.connection.waits_for
        source.watched = wanted
        if before and wanted and before.connection is wanted.connection and before.event == wanted.event:
            return
        self._unwatch(source)
        if wanted is not None:
            source.fd = wanted.connection.fileno()
            self._watched[source.fd] = source
            self._poll.register(source.fd, select.EPOLLIN if wanted.event == EVENT_READ else select.EPOLLOUT)
            source.watched = wanted

    def _unwatch(self, source: PageSource) -> None:
        if self._watched.get(source.fd) is source:
            del self._watched[source.fd]
            with suppress(OSError):  # closed: nobody watches it any more
                self._poll.unregister(source.fd)
        source.fd, source.watched = -1, None


def _reason(error: OSError) -> str:
    return "timeout" if isinstance(error, TimeoutError) else "http" if isinstance(error, BadAnswerError) else "connect"


def main() -> None:
    """Runs the collector of the board whose file descriptor and number of workers are given as arguments."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    fd, workers = map(int, sys.argv[1:])
    LoadCollector(SharedBoard(workers, fd).board).run()


if __name__ == "__main__":
    main()
