"""A model server in simulated time: it answers so many requests at once, and the others wait in line for a place."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from random import Random

from extproc.policy.breaker import Breaker, InFlight


class Answered:
    """One request that was admitted."""

    __slots__ = ("came", "first_token")

    def __init__(self, came: float) -> None:
        self.came = came
        self.first_token: float | None = None


class SimulatedServer:
    """Times are seconds. Breakers, each a process of its own, get the requests at random."""

    def __init__(self, breakers: Sequence[Breaker], *, places: int, seed: int = 1, first: float = 0.1) -> None:
        self.breakers, self.places = breakers, places
        self.first, self.length = first, 1.0
        """Of an answer that does not wait: the median time to first token, the mean length after it."""
        self.now = 0.0
        self.refused = 0
        self.answers: list[Answered] = []
        self.most = 0
        """In flight, since it was last set."""
        self._random = Random(seed)
        self._busy = self._in_flight = 0
        self._line: deque[tuple[Answered, Breaker, InFlight]] = deque()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    @property
    def in_flight(self) -> int:
        return self._in_flight

    def at(self, time: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._numbers), do))

    def run(self, until: float, rate: float) -> list[Answered]:
        """Requests come at this rate. Those that were admitted."""
        began = len(self.answers)
        self._next(rate, until)
        while self._events and self._events[0][0] <= until:
            self.now, _, do = heapq.heappop(self._events)
            do()
        self.now = until
        return self.answers[began:]

    def _next(self, rate: float, until: float) -> None:
        following = self.now + self._random.expovariate(rate)

        def come() -> None:
            self._come()
            self._next(rate, until)

        if following <= until:
            self.at(following, come)

    def _come(self) -> None:
        breaker = self._random.choice(self.breakers)
        busy = breaker.busy(self.now)
        if busy is not None and not (busy.ejected and breaker.within_limit(self.now)):
            self.refused += 1
            return
        breaker.admit(self.now)
        answer = Answered(self.now)
        self.answers.append(answer)
        seen = self._random.choice(self.breakers)
        self._line.append((answer, seen, seen.begin_stream(self.now)))
        self._in_flight += 1
        self.most = max(self.most, self._in_flight)
        self._serve()

    def _serve(self) -> None:
        while self._line and self._busy < self.places:
            self._busy += 1
            answer, breaker, one = self._line.popleft()
            first = self.now + self.first * self._random.lognormvariate(0, 0.3)
            last = first + self.length * self._random.lognormvariate(-0.125, 0.5)
            self.at(first, lambda a=answer, b=breaker, o=one: self._first_token(a, b, o))  # type: ignore[misc]
            self.at(last, lambda b=breaker, o=one: self._end(b, o))  # type: ignore[misc]

    def _first_token(self, answer: Answered, breaker: Breaker, one: InFlight) -> None:
        answer.first_token = self.now
        breaker.first_token(one, self.now - answer.came, self.now)

    def _end(self, breaker: Breaker, one: InFlight) -> None:
        breaker.end(one, self.now)
        breaker.outcome(self.now, failed=False, one=one)
        self._busy -= 1
        self._in_flight -= 1
        self._serve()


def first_tokens(answers: Sequence[Answered]) -> list[float]:
    """The times to first token, sorted; who has none yet waits for ever."""
    return sorted((a.first_token - a.came) if a.first_token is not None else 1e9 for a in answers)


def p95(answers: Sequence[Answered]) -> float:
    times = first_tokens(answers)
    return times[int(0.95 * len(times))]
