"""Model servers in simulated time that are picked in turn, or by what they have in flight, as their breakers allow."""

from __future__ import annotations

import heapq
from random import Random

from extproc.exchange.endpoint_breakers import EndpointBreaker, EndpointBreakers
from extproc.policy.circuit_breaker import CircuitBreaker
from tests.unit.policy.simulated_server import Answered, SimulatedServer


class PickedServers:
    """Of one target. Times are seconds."""

    def __init__(self, number: int, *, places: int, in_turn: bool, seed: int) -> None:
        """``in_turn``: else who has least in flight is picked."""
        self.now, self.refused = 0.0, 0
        self.breakers = EndpointBreakers(lambda: self.now)
        addresses = tuple(f"10.0.0.{n}:80" for n in range(number))
        self.breakers.follow(addresses, CircuitBreaker(), 0.0)
        self.servers = [SimulatedServer([self._of(a)], places=places, seed=seed + n) for n, a in enumerate(addresses)]
        for server in self.servers:  # one time for all
            server._events, server._numbers = self.servers[0]._events, self.servers[0]._numbers
        self._random, self._in_turn, self._turn = Random(seed), in_turn, 0

    def run(self, until: float, rate: float) -> list[list[Answered]]:
        """Requests come at this rate. Those that each server got."""
        began = [len(server.answers) for server in self.servers]
        events, due = self.servers[0]._events, self.now + self._random.expovariate(rate)
        while min(due, events[0][0] if events else due) <= until:
            if events and events[0][0] <= due:
                at, _, do = heapq.heappop(events)
                self._set(at)
                do()
            else:
                self._set(due)
                self._come()
                due += self._random.expovariate(rate)
        self._set(until)
        return [server.answers[begin:] for server, begin in zip(self.servers, began, strict=True)]

    def _of(self, address: str) -> EndpointBreaker:
        found = self.breakers.of(address)
        assert found is not None
        return found

    def _set(self, now: float) -> None:
        self.now = now
        for server in self.servers:
            server.now = now

    def _come(self) -> None:
        if self.breakers.busy(self.now) is not None:
            self.refused += 1
            return
        marks = self.breakers.marks(self.breakers.addresses) or bytes([1]) * len(self.servers)
        takes = [place for place, mark in enumerate(marks) if mark]
        if self._in_turn:
            picked = next((place for place in takes if place > self._turn), takes[0])
        else:
            picked = min(takes, key=lambda place: self.servers[place].in_flight)
        self._turn = picked
        self.servers[picked]._come()
