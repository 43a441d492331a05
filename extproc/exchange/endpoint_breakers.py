"""The circuit breakers of a target whose endpoints are picked, or of its servers for gRPC: one for each endpoint, and
together the target's.

A pick reads marks, a byte for each endpoint. They follow what the breakers are told, one endpoint at a time; what time
alone changes is looked up for all every ``LOOK_INTERVAL``, as seldom as loads are read.
"""

from __future__ import annotations

from collections.abc import Callable

from extproc.picking.candidates import both
from extproc.policy.breaker import EJECTED, PROBING, Breaker, InFlight
from extproc.policy.circuit_breaker import Busy, CircuitBreaker

NOBODY: frozenset[str] = frozenset()
LOOK_INTERVAL = 0.02
"""Seconds between two looks at all endpoints, while requests come."""
MAX_ENDPOINTS = 2_048
"""Endpoints of a target that have a breaker; those beyond get whatever they are picked for."""


class EndpointBreaker(Breaker):
    """That of one endpoint. What it is told shows in the marks at once."""

    def __init__(self, owner: EndpointBreakers, endpoint: str, bounds: CircuitBreaker) -> None:
        Breaker.__init__(self, bounds)
        self.owner, self.endpoint = owner, endpoint
        self.place = 0
        """Among the addresses of its owner."""

    def admit(self, now: float) -> None:
        """As of a target."""
        Breaker.admit(self, now)
        self.owner.note(self, now)

    def begin(self, now: float, weight: float = 1.0) -> InFlight:
        """As of a target."""
        one = Breaker.begin(self, now, weight)
        self.owner.note(self, now)
        return one

    def first_token(self, one: InFlight, seconds: float, now: float) -> None:
        """As of a target."""
        Breaker.first_token(self, one, seconds, now)
        self.owner.note(self, now)

    def end(self, one: InFlight, now: float) -> None:
        """As of a target."""
        Breaker.end(self, one, now)
        self.owner.note(self, now)

    def outcome(self, now: float, failed: bool, one: InFlight | None = None) -> None:
        """As of a target."""
        Breaker.outcome(self, now, failed, one)
        self.owner.note(self, now)


class EndpointBreakers:
    """All of one target. A breaker is made with the first request of its endpoint, and is dropped with the endpoint."""

    def __init__(self, clock: Callable[[], float], unreachable: Callable[[], frozenset[str]] = lambda: NOBODY) -> None:
        """``unreachable``: gives the endpoints to which no connection can be made, which have no room for anybody; the
        same object while they are the same.
        """
        self._clock, self._unreachable = clock, unreachable
        self.addresses: tuple[str, ...] = ()
        self._place_of: dict[str, int] = {}
        self._breakers: dict[str, EndpointBreaker] = {}
        self._bounds, self._promised = CircuitBreaker(), 0.0
        self._marks = bytearray()
        self._closed = 0  # marks that are 0
        self._without, self._reachable = NOBODY, b""  # a mark for each endpoint: 0 where it is one of the first
        self._next_look = 0.0
        self._why: Busy | None = None  # of all that can be reached, since the last look

    def follow(self, addresses: tuple[str, ...], bounds: CircuitBreaker, promised: float) -> None:
        """A reload: these are the endpoints, and what holds for each. ``promised``: as ``Breaker.promised``."""
        self.addresses, self._bounds, self._promised = addresses, bounds, promised
        self._place_of = {address: place for place, address in enumerate(addresses)}
        self._breakers = {name: one for name, one in self._breakers.items() if name in self._place_of}
        self._marks, self._closed, self._next_look = bytearray(b"\1" * len(addresses)), 0, 0.0
        self._reachable = b""
        for name, one in self._breakers.items():
            one.place, one.promised = self._place_of[name], promised
            one.set_bounds(bounds)

    def of(self, endpoint: str) -> EndpointBreaker | None:
        """Its breaker; None of others than the target's endpoints."""
        found = self._breakers.get(endpoint)
        if found is None and endpoint in self._place_of and len(self._breakers) < MAX_ENDPOINTS:
            found = self._breakers[endpoint] = EndpointBreaker(self, endpoint, self._bounds)
            found.place, found.promised = self._place_of[endpoint], self._promised
        return found

    def busy(self, now: float) -> Busy | None:
        """Why no endpoint that can be reached takes a request; None: one does, or none can be reached at all."""
        self._look(now)
        if self._one_takes():
            return None
        if self._why is None:
            self._why = _soonest([one.closed(now) for one in self._reached()])
        return self._why

    def within_limit(self, now: float) -> bool:
        """As ``Breaker.within_limit``, of any endpoint that can be reached."""
        return any(one.within_limit(now) for one in self._reached())

    def marks(self, addresses: tuple[str, ...]) -> bytes:
        """A byte for each of these endpoints: 1 where it takes a request or, where none that can be reached does, has
        room for one nevertheless; empty: any may be picked.
        """
        now = self._clock()
        self._look(now)
        if not self._closed:
            return b""
        marks = bytes(self._marks)
        if not self._one_takes():
            known = [self._breakers.get(name) for name in self.addresses]
            marks = bytes([one is None or one.within_limit(now) for one in known])
        if addresses == self.addresses:
            return marks
        return bytes([marks[self._place_of[name]] if name in self._place_of else 1 for name in addresses])

    def sent(self, endpoint: str) -> None:
        """A request was decided to go there."""
        one = self.of(endpoint)
        if one is not None:
            one.admit(self._clock())

    def note(self, one: EndpointBreaker, now: float) -> None:
        """The breaker was told something."""
        if self._breakers.get(one.endpoint) is one:  # else its endpoint is gone
            self._mark(one, one.closed(now) is None)

    def limit(self) -> float:
        """Requests at a time of all endpoints together."""
        known = list(self._breakers.values())
        others = len(self.addresses) - len(known)
        return float(sum(int(one.limit) for one in known) + others * self._bounds.max_concurrency)

    def in_flight(self) -> float:
        """Requests that all endpoints have."""
        return sum(one.in_flight for one in list(self._breakers.values()))

    def ejected(self) -> tuple[str, ...]:
        """The endpoints that get no requests, or single ones as probes."""
        return tuple(n for n, one in list(self._breakers.items()) if one.state in (EJECTED, PROBING))

    def _one_takes(self) -> bool:
        """Whether an endpoint that can be reached takes a request, or none can be reached."""
        if not self._closed:
            return True
        reachable = self._marks_of_reachable()
        if reachable.find(b"\0") < 0:  # most often
            return self._closed < len(self._marks)
        return 1 in both(bytes(self._marks), reachable) or 1 not in reachable

    def _reached(self) -> list[EndpointBreaker]:
        """Those of the endpoints that can be reached."""
        reachable = self._marks_of_reachable()
        return [one for one in self._breakers.values() if reachable[one.place]]

    def _marks_of_reachable(self) -> bytes:
        without = self._unreachable()
        if without is not self._without or len(self._reachable) != len(self.addresses):
            self._without, self._why = without, None
            self._reachable = bytes([address not in without for address in self.addresses])
        return self._reachable

    def _look(self, now: float) -> None:
        if now < self._next_look:
            return
        self._next_look, self._why = now + LOOK_INTERVAL, None
        for one in self._breakers.values():
            self._mark(one, one.busy(now) is None)

    def _mark(self, one: EndpointBreaker, takes: bool) -> None:
        if self._marks[one.place] != takes:
            self._marks[one.place] = takes
            self._closed += -1 if takes else 1


def _soonest(whys: list[Busy | None]) -> Busy | None:
    """Of who is full the one that may be asked again first, else of who is ejected; None counts as neither."""
    full = [why for why in whys if why is not None and not why.ejected]
    return min(full or [why for why in whys if why is not None], key=lambda why: why.retry_after, default=None)
