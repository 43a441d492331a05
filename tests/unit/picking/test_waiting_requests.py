"""The queue against a plain list of who waits: bounded, in order, fair, and nobody is lost."""

from __future__ import annotations

from collections import Counter
from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from extproc.picking.waiting_requests import WaitingRequests


class Plain(RuleBasedStateMachine):
    """Requests are numbers, in the order in which they come."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: WaitingRequests[int] = WaitingRequests()
        self.numbers = count()
        self.waiting: dict[int, tuple[int, bytes]] = {}
        self.passed_over: Counter[tuple[int, bytes]] = Counter()
        """By priority and id, how many turns others of the priority had while it had somebody who may."""

    @rule(priority=st.integers(-1, 2), fairness_id=st.sampled_from([b"a", b"b", b"c"]), most=st.integers(1, 6))
    def comes(self, priority: int, fairness_id: bytes, most: int) -> None:
        number = next(self.numbers)
        before = dict(self.waiting)
        self.waiting[number] = priority, fairness_id
        dropped = self.queue.add(number, priority, fairness_id, most)
        assert (dropped is not None) == (len(before) >= most)
        if dropped is None:
            return
        of, least = self.waiting[dropped], min(p for p, _ in self.waiting.values())
        mine = [n for n, place in self.waiting.items() if place == of]
        sizes = Counter(place for place in self.waiting.values() if place[0] == least)
        assert of[0] == least, "of the least priority"
        assert len(mine) == max(sizes.values()), "of an id that has most of them"
        assert dropped == max(mine), "the youngest"
        self.goes(dropped)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leaves(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(list(self.waiting)))
        assert self.queue.remove(number)
        assert not self.queue.remove(number)
        self.goes(number)

    @rule(may=st.sampled_from([1, 2, 3, 0]))
    def turn(self, may: int) -> None:
        """Every ``may``-th request may have what there is; 0: none."""
        allowed = [n for n in self.waiting if may and n % may == 0]
        number = self.queue.take(lambda n: n in allowed)
        assert (number is None) == (not allowed)
        if number is None:
            return
        mine = self.waiting[number]
        assert mine[0] == max(self.waiting[n][0] for n in allowed), "the highest priority first"
        assert number == min(n for n in allowed if self.waiting[n] == mine), "the oldest of an id first"
        for other in {self.waiting[n] for n in allowed} - {mine}:
            if other[0] == mine[0]:
                self.passed_over[other] += 1
                assert self.passed_over[other] <= 2, "each of the two others has one turn before it has its own"
        self.passed_over.pop(mine, None)
        self.goes(number)

    def goes(self, number: int) -> None:
        place = self.waiting.pop(number)
        if place not in self.waiting.values():
            self.passed_over.pop(place, None)

    @invariant()
    def nobody_is_lost(self) -> None:
        assert list(self.queue) == list(self.waiting)
        assert len(self.queue) == len(self.waiting)
        assert sum(len(level) for level in self.queue._levels.values()) == len(set(self.waiting.values()))


TestPlain = Plain.TestCase
TestPlain.settings = settings(max_examples=6, stateful_step_count=25, deadline=None)


def everybody(queue: WaitingRequests[str]) -> str:
    return "".join(iter(lambda: queue.take(lambda _: True) or "", ""))


def test_ids_take_turns_and_priorities_do_not() -> None:
    queue: WaitingRequests[str] = WaitingRequests()
    for request, priority, fairness_id in [
        *[(name, 0, b"many") for name in "ABCD"],
        *[(name, 0, b"few") for name in "xy"],
        ("1", 7, b"many"),
        ("z", 0, b""),
    ]:
        assert queue.add(request, priority, fairness_id, 99) is None
    assert everybody(queue) == "1AxzByCD"


def test_whoever_floods_the_queue_makes_room_for_others() -> None:
    queue: WaitingRequests[str] = WaitingRequests()
    for name in "ABC":
        assert queue.add(name, 0, b"flood", 3) is None
    assert queue.add("D", 0, b"flood", 3) == "D"
    assert queue.add("x", 0, b"other", 3) == "C"
    assert queue.add("1", 5, b"urgent", 3) == "B"
    assert queue.add("y", 0, b"third", 3) == "y", "all have one, and its turn would come last"
    assert everybody(queue) == "1Ax"


def test_a_bound_that_has_become_lower_lets_nobody_in() -> None:
    queue: WaitingRequests[str] = WaitingRequests()
    for name in "ABC":
        queue.add(name, 0, b"", 3)
    assert queue.add("D", 0, b"", 1) == "D"
    assert queue.add("1", 5, b"", 1) == "C"
    assert everybody(queue) == "1AB"
