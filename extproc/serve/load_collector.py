"""The collector: the process of a replica that reads every endpoint's metrics page, and notes its load on the board.

There is one, whatever the number of workers. It takes turns of some milliseconds, in each of which it asks whose page
is due and reads what has come: answers wait for it, which costs less than waiting for each of them.
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

from extproc.fetch.answer_reader import BadAnswerError
from extproc.fetch.kept_connection import BUFFER_SIZE, KeptConnection
from extproc.fetch.steps import Answer, Wait
from extproc.fetch.url import parse
from extproc.picking.board import Board, Page, Slot
from extproc.picking.board_layout import BEAT, CPU, FAILED, FAILURES, READ
from extproc.policy.metrics_page import NOTHING, PageLoad, PageReader
from extproc.serve.shared_board import SharedBoard

log = logging.getLogger("extproc.serve.load_collector")  # it is run as __main__

TURN = 0.01
"""Seconds between two turns while answers are awaited."""
TIMEOUT = 1.0
"""Seconds that a server has: for a connection, and for all of an answer."""
RETRY_INTERVAL = 1.0
"""Seconds between two looks at a page that can't be read."""
MAX_PAGE, FULL_RATE_PAGE = 1 << 20, 128 << 10
"""Bytes: the load on a larger page is not known; a page larger than the latter is read as much more seldom."""
_MAX_LINES = 40
"""Lines of the log in a minute."""
_FOLLOW_INTERVAL, _OVERDUE_INTERVAL = 0.25, 0.1
"""Seconds between two looks at who is on the board, and for those that have not answered in time."""


class _Server:
    """A page, and what is known of it."""

    def __init__(self, slot: Slot, page: Page, buffer: bytearray) -> None:
        """Raises ``ValueError`` where the URL is none."""
        self.slot, self.page = slot, page
        self.connection = KeptConnection(parse(page.url), MAX_PAGE, buffer)
        self.reader = PageReader(page.kind)
        self.asked_at = self.picked = 0.0
        self.fd = -1
        self.watched: Wait | None = None
        self.failing = self.gone = False


class LoadCollector:
    """Used by one thread. Its clock is ``time.monotonic``, as that of all who read reports."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._servers: dict[Slot, _Server] = {}
        self._due: list[tuple[float, int, _Server]] = []  # a heap; the number keeps servers from being compared
        self._order = count()
        self._poll = select.epoll()
        self._watched: dict[int, _Server] = {}
        self._asking: set[_Server] = set()
        self._reports: dict[Slot, tuple[PageLoad, float, float]] = {}
        self._buffer = bytearray(BUFFER_SIZE)
        self._generation = 0
        self._follow_at = self._overdue_at = self._minute = 0.0
        self._lines = 0
        self._cpu_before = float(board.numbers[CPU]) - time.process_time()
        board.begin_reports()

    def run(self) -> None:
        """Takes turns for ever."""
        while True:
            self.turn()
            due = min(self._follow_at, self._due[0][0]) if self._due else self._follow_at
            time.sleep(TURN if self._asking else max(TURN, due - time.monotonic()))

    def turn(self) -> None:
        """Asks whose page is due, and reads what has come."""
        now = time.monotonic()
        if now >= self._follow_at:
            self._follow_at = now + _FOLLOW_INTERVAL
            self._follow(now)
        if self._due and self._due[0][0] <= now:
            self._ask(now)
        for fd, _ in self._poll.poll(0):
            if server := self._watched.get(fd):
                self._go_on(server, server.connection.step, now)
        if now >= self._overdue_at:
            self._overdue_at = now + _OVERDUE_INTERVAL
            for server in [each for each in self._asking if each.watched and each.watched.until <= now]:
                self._go_on(server, partial(server.connection.step, TimeoutError("timed out")), now)
        if self._reports:
            self._board.report(self._reports)
            self._reports.clear()

    def close(self) -> None:
        """Closes all connections."""
        for server in self._servers.values():
            self._end(server)
        self._poll.close()

    def _follow(self, now: float) -> None:
        """Who is on the board now."""
        numbers = self._board.numbers
        numbers[BEAT], numbers[CPU] = now, self._cpu_before + time.process_time()
        generation = self._board.generation
        if generation == self._generation:
            return
        self._generation = generation
        wanted = {slot: slot.wanted.page for slot in self._board.slots() if slot.wanted.page is not None}
        for slot in self._servers.keys() - wanted.keys():
            self._end(self._servers.pop(slot))
        new = [(slot, page) for slot, page in wanted.items() if slot not in self._servers]
        for place, (slot, page) in enumerate(new):
            try:
                server = self._servers[slot] = _Server(slot, page, self._buffer)
            except ValueError as error:
                self._log(logging.WARNING, "the load at %s is not known: %s", page.url, error)
                continue
            self._ask_at(server, now + page.interval * place / len(new))

    def _end(self, server: _Server) -> None:
        server.gone = True
        self._asking.discard(server)
        self._unwatch(server)
        server.connection.close()

    def _ask_at(self, server: _Server, due: float) -> None:
        heappush(self._due, (due, next(self._order), server))

    def _ask(self, now: float) -> None:
        picked = self._board.picked()
        while self._due and self._due[0][0] <= now:
            server = heappop(self._due)[2]
            if not server.gone:
                server.asked_at, server.picked = now, float(picked[server.slot.number])
                self._asking.add(server)
                self._go_on(server, partial(server.connection.ask, now + TIMEOUT), now)

    def _go_on(self, server: _Server, step: Callable[[], Answer | None], now: float) -> None:
        if server.connection.connecting:
            self._unwatch(server)
        try:
            if (answer := step()) is not None:
                self._note(server, answer, now)
        except OSError as error:
            self._note_failure(server, _reason(error), str(error) or type(error).__name__, now)
        except Exception as error:  # a bug of ours: this page is not known, others are
            server.connection.close()
            self._note_failure(server, "http", f"{type(error).__name__}: {error}", now)
        self._watch(server)

    def _note(self, server: _Server, answer: Answer, now: float) -> None:
        if answer.status != 200:
            self._note_failure(server, "status", f"status {answer.status}", now)
            return
        load = server.reader.read(answer.body)
        if load == NOTHING:
            self._note_failure(server, "metrics", f"none of the metrics of {server.page.kind} is on the page", now)
            return
        self._reports[server.slot] = load, server.asked_at, server.picked
        self._board.numbers[READ] += 1
        if server.failing:
            server.failing = False
            self._log(logging.INFO, "%s tells its load again", server.page.url)
        self._asking.discard(server)
        more = max(1, ceil(len(answer.body) / FULL_RATE_PAGE))
        self._ask_at(server, max(now, server.asked_at + server.page.interval * more))

    def _note_failure(self, server: _Server, reason: str, told: str, now: float) -> None:
        self._board.numbers[FAILED + FAILURES.index(reason)] += 1
        if not server.failing:
            server.failing = True
            self._log(logging.WARNING, "the load at %s is not known: %s", server.page.url, told)
        self._asking.discard(server)
        self._ask_at(server, now + max(RETRY_INTERVAL, server.page.interval))

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

    def _watch(self, server: _Server) -> None:
        """What its connection waits for."""
        before, wanted = server.watched, server.connection.waits_for
        server.watched = wanted
        if before and wanted and before.connection is wanted.connection and before.event == wanted.event:
            return
        self._unwatch(server)
        if wanted is not None:
            server.fd = wanted.connection.fileno()
            self._watched[server.fd] = server
            self._poll.register(server.fd, select.EPOLLIN if wanted.event == EVENT_READ else select.EPOLLOUT)
            server.watched = wanted

    def _unwatch(self, server: _Server) -> None:
        if self._watched.get(server.fd) is server:
            del self._watched[server.fd]
            with suppress(OSError):  # closed: nobody watches it any more
                self._poll.unregister(server.fd)
        server.fd, server.watched = -1, None


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
