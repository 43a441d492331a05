"""An adaptive circuit breaker: how many requests a version on a GPU pool may have at a time, and whether any. Pure.

The limit follows the time to first token. Delay is the signal, as in TCP Vegas (Brakmo and Peterson 1995) and Netflix'
concurrency-limits; a cumulative sum test (Page 1954) tells it. Upon an alarm nothing more is admitted until whoever is
late has his first token: what is in flight then is what the server carries, so that one decrease suffices. Then the
limit rises by 1, 2, 4 … while rounds are good, and goes back at the first bad one, as BBR probes (draft-ietf-ccwg-bbr,
ProbeBW_UP): additive increase and multiplicative decrease, by which parties that do not speak to each other share (Chiu
and Jain 1989). Who fails, or is slow even with the least limit, is ejected; after some seconds single requests probe.

All times are seconds of one monotonic clock.
"""

from __future__ import annotations

from collections import deque
from math import inf

from extproc.policy.change_test import ChangeTest
from extproc.policy.circuit_breaker import Busy, CircuitBreaker
from extproc.policy.usual_time import UsualTime

DECREASE = 0.9
"""The limit after an alarm, as a share of what is carried."""
HOLD, MAX_HOLD = 2.0, 16.0
"""Seconds until a limit that somebody has met is raised: at first, and at most after raises in vain."""
ROUND = 20
"""First tokens after which a raise has proved good; as many as the limit where that is more."""
STALLED = 30.0
"""Seconds after which one that drains in vain is ejected."""
PENDING = 0.05
"""Seconds, once to twice, for which a request counts that was decided and is not seen yet."""
PROBES = 3
"""Good answers in a row after which an ejected one is back."""
EJECTION, MAX_EJECTION = 5.0, 20.0
"""Seconds of the first ejection, and at most: a probe costs one request."""
FORGIVEN = 120.0
"""Seconds without an ejection after which the next one is again a first."""

CLOSED, DRAINING, EJECTED, PROBING = "closed", "draining", "ejected", "probing"
"""States: within its limit; nothing more until late first tokens have come; no request; single ones."""


class InFlight:
    """One request that a server has."""

    __slots__ = ("began", "epoch", "late", "slow", "waiting", "weight")

    def __init__(self) -> None:
        self.began = 0.0
        self.weight = 1.0
        """How many requests it stands for."""
        self.epoch = 0
        self.waiting = False
        """For its first token."""
        self.late = False
        self.slow = False
        """Its first token came late, or has not come and is late."""


class Breaker:
    """One version on one GPU pool."""

    def __init__(self, bounds: CircuitBreaker) -> None:
        self.set_bounds(bounds)
        self.promised = 0.0
        """Seconds within which a first token is never late: an objective of the policy's."""
        self.in_flight = 0.0
        """Requests that are seen."""
        self._usual = UsualTime()
        self.state = CLOSED
        self.ejections = 0
        self._waiting: deque[InFlight] = deque()
        self._late = 0  # requests that wait and are late
        self._epoch, self._of_epoch = 0, 0.0  # requests of before a change say nothing of what is after it
        self._slow, self._failing = ChangeTest(0.05, 0.25, 9.2), ChangeTest(0.05, 0.5, 9.2)
        # While a limit is in force, and the more once it was raised, a false alarm costs little.
        self._limited, self._raised = ChangeTest(0.03, 0.12, 4.5), ChangeTest(0.03, 0.12, 2.0)
        self._limit = inf  # inf: nothing tells of congestion
        self._before = 0.0  # draining: in flight at the alarm, or the limit then; raised: the limit before
        self._met = False  # somebody was not admitted since the limit is what it is
        self._hold, self._held_until = HOLD, 0.0
        self._step, self._round = 0, 0  # by how much it was raised last, 0 while it is held; first tokens since
        self._pending, self._pending_before, self._slot_ends = 0.0, 0.0, 0.0
        self._ejected_until, self._returned_at, self._good_probes = 0.0, 0.0, 0

    def set_bounds(self, bounds: CircuitBreaker) -> None:
        """Follows a reload: these hold from now on."""
        self._least, self._most = float(bounds.min_concurrency), float(bounds.max_concurrency)

    @property
    def limit(self) -> float:
        """Requests at a time."""
        return self._at_present()

    @property
    def usual(self) -> float | None:
        """Seconds to the first token; None: not known yet."""
        return self._usual.seconds

    def _at_present(self) -> float:
        return min(self._most, max(self._least, self._limit))

    def busy(self, now: float) -> Busy | None:
        """Whether a request that comes now must go elsewhere; None: it may come."""
        why = self.closed(now)
        if why is _FULL:
            self._met = True
        return why

    def closed(self, now: float) -> Busy | None:
        """The same where no request has come."""
        self._tick(now)
        if self.state is EJECTED:
            return Busy(True, max(1, int(self._ejected_until - now)))
        if self.state is PROBING:
            return Busy(True, 1) if self._of_epoch + self._unseen(now) >= 1 else None
        return None if self.within_limit(now) else _FULL

    def within_limit(self, now: float) -> bool:
        """The same without a regard to ejection: for who has nowhere else to go."""
        limit = int(self._least if self.state is DRAINING else self._at_present())
        return self.in_flight + self._unseen(now) + 1 <= limit

    def admit(self, now: float) -> None:
        """A request was decided to go there."""
        self._unseen(now)
        self._pending += 1

    def begin_stream(self, now: float, weight: float = 1.0) -> InFlight:
        """As ``begin``, of a request that asks for a stream, and so waits for its first token."""
        one = self.begin(now, weight)
        one.waiting = True
        self._waiting.append(one)
        return one

    def begin(self, now: float, weight: float = 1.0) -> InFlight:
        """A request is seen to go there, which stands for ``weight``."""
        self._unseen(now)
        taken = min(weight, self._pending_before)
        self._pending_before -= taken
        self._pending = max(0.0, self._pending - (weight - taken))
        self.in_flight += weight
        self._of_epoch += weight
        one = InFlight()
        one.began, one.weight, one.epoch = now, weight, self._epoch
        return one

    def first_token(self, one: InFlight, seconds: float, now: float) -> None:
        """The first token of the answer has come, ``seconds`` after the request."""
        self._tick(now)
        self._no_longer_waits(one)
        if one.epoch != self._epoch:
            return
        if not one.slow:  # else that is known
            one.slow = seconds > max(self._usual.late_after, self.promised)
            self._note_time(now, one.slow)
        if one.epoch == self._epoch:
            self._usual.learn(seconds, now, self._at_present() <= self._least)

    def end(self, one: InFlight, now: float) -> None:
        """It has ended, in whatever way. Once for each."""
        self._no_longer_waits(one)
        self.in_flight = max(0.0, self.in_flight - one.weight)
        if one.epoch == self._epoch:
            self._of_epoch = max(0.0, self._of_epoch - one.weight)
        self._tick(now)

    def outcome(self, now: float, failed: bool, one: InFlight | None = None) -> None:
        """An answer has ended well, or by the server's fault. ``one``: its request, where that is known."""
        self._tick(now)
        if one is not None and one.epoch != self._epoch:
            return
        if self.state is PROBING:
            self._probed(now, not failed and not (one is not None and one.slow))
        elif self.state is not EJECTED and self._failing.note(failed):
            self._eject(now)

    def _probed(self, now: float, good: bool) -> None:
        self._good_probes = self._good_probes + 1 if good else 0
        if not good:
            self._eject(now)
        elif self._good_probes >= PROBES:
            self._enter(CLOSED)
            self._returned_at = now

    def _unseen(self, now: float) -> float:
        """Requests that were decided lately and are not seen yet; those of long ago are seen elsewhere, or never."""
        if now >= self._slot_ends:
            self._pending_before = self._pending if now < self._slot_ends + PENDING else 0.0
            self._pending, self._slot_ends = 0.0, now + PENDING
        return self._pending + self._pending_before

    def _tick(self, now: float) -> None:
        """What time alone changes."""
        if self._waiting:
            self._look_for_late(now)
        if self.state is CLOSED:
            if self._met and not self._step and self._limit < inf and now >= self._held_until:
                self._raise(1)
        elif self.state is DRAINING:
            if not self._late:
                self._hold = HOLD
                self._hold_at(DECREASE * min(self.in_flight, self._before), now)
            elif now >= self._held_until:
                self._eject(now)
        elif self.state is EJECTED and now >= self._ejected_until:
            self._enter(PROBING)
            self._good_probes = 0

    def _look_for_late(self, now: float) -> None:
        too_long, waiting = now - max(self._usual.late_after, self.promised), self._waiting
        while waiting:
            one = waiting[0]
            if one.waiting and one.began >= too_long:
                break
            waiting.popleft()
            if one.waiting:
                one.late = one.slow = True
                self._late += 1
                if one.epoch == self._epoch:
                    self._note_late(now)

    def _note_late(self, now: float) -> None:
        if self.state is PROBING:
            self._probed(now, False)
        else:
            self._note_time(now, True)

    def _no_longer_waits(self, one: InFlight) -> None:
        if one.waiting:
            one.waiting = False
            self._late -= one.late

    def _note_time(self, now: float, slow: bool) -> None:
        if self.state is not CLOSED:
            return
        if self._step:
            self._note_of_round(now, slow)
        elif (self._slow if self._limit == inf else self._limited).note(slow):
            if self._at_present() <= self._least:
                self._eject(now)
            else:
                self._before = min(self._at_present(), max(self.in_flight, self._least))
                self._held_until = now + STALLED
                self._enter(DRAINING)

    def _note_of_round(self, now: float, slow: bool) -> None:
        """The limit was raised: back at the first sign that it was too much, or on."""
        if self._raised.note(slow):
            self._hold = min(MAX_HOLD, 2 * self._hold) if self._step <= 2 else HOLD
            self._hold_at(self._before, now)
            return
        self._round += 1
        if self._met and self._round >= max(ROUND, self._at_present()):
            self._raise(2 * self._step)

    def _raise(self, step: int) -> None:
        self._before = self._at_present()
        self._set(self._at_present() + step)
        self._step = 0 if self._limit == inf else step
        self._enter(CLOSED)

    def _hold_at(self, limit: float, now: float) -> None:
        self._set(limit)
        self._step, self._held_until = 0, now + self._hold
        self._enter(CLOSED)

    def _set(self, limit: float) -> None:
        limit = max(limit, self._least)
        if limit != self._at_present():
            self._usual.begin_block()
        self._limit = inf if limit >= self._most else limit
        self._met = False
        self._round = 0

    def _eject(self, now: float) -> None:
        if now - self._returned_at > FORGIVEN and self.state is not PROBING:
            self.ejections = 0
        self._hold = HOLD
        self._ejected_until = now + min(MAX_EJECTION, EJECTION * 2.0**self.ejections)
        self.ejections = min(self.ejections + 1, 8)
        self._hold_at(min(self.in_flight, self._at_present()) / 2, now)
        self._enter(EJECTED)

    def _enter(self, state: str) -> None:
        self.state = state
        self._epoch += 1
        self._of_epoch = 0.0
        for test in (self._slow, self._failing, self._raised, self._limited):
            test.clear()


_FULL = Busy(False, 1)
