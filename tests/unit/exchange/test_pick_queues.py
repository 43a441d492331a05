"""Requests that wait for an endpoint: whose turn it is when, what ends the wait, and that none is lost."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from extproc.envoy.actions import Finish, Reject
from extproc.exchange.notes import Waited
from extproc.exchange.pick_queues import LOOK_INTERVAL
from extproc.policy.picking import Saturation
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.policy.target import NOWHERE
from tests.queued_requests import ADDRESSES, PATIENCE, A, B, C, One, Process, busy, snapshot


def test_they_go_as_there_is_room_by_priority_and_then_by_turns() -> None:
    process = busy(max_queue=9)
    first, second, third = (process.ask(user="ann") for _ in range(3))
    other, urgent = process.ask(user="bob"), process.ask("chat", "ann")
    assert [one.waits for one in (first, second, third, other, urgent)] == [True] * 5
    assert process.picks.queues.waiting() == {("chat", "v1", ""): 5}
    assert process.look() == []
    process.say(B=0)
    assert process.look() == [urgent]
    assert urgent.endpoints == [B]
    assert process.look() == []
    process.say(A=0, B=0)
    assert process.look() == [first, other]
    assert {first.endpoints[0], other.endpoints[0]} == {A, B}
    process.say(A=0)
    assert process.look() == [second]
    process.say(A=0)
    assert process.look() == [third]
    assert third.notes == (["picked"], ["routed"])
    assert isinstance(third.actions[-1], Finish)
    assert process.board.sent == {A: 3, B: 2}
    assert not process.picks.queues.by_cluster
    assert process.look() == [] == process.due, "nobody looks where nobody waits"


def test_a_report_of_much_room_lets_as_many_go_as_bring_it_to_the_threshold() -> None:
    process = busy(max_queue=9, saturation=Saturation(waiting=2))
    process.board.waiting = dict.fromkeys(ADDRESSES, 3)
    waiting = [process.ask() for _ in range(9)]
    process.say(A=1)
    looked_at_and_picked_by, looked_at = 3, 1
    process.board.known = [process.board.loads((A, B))] * (looked_at_and_picked_by + looked_at)
    assert process.look() == waiting[:2]
    assert process.look() == []
    assert not process.board.known
    process.say(A=0, B=0)
    assert process.look() == waiting[2:8]


def test_whose_turn_has_come_goes_whatever_is_read_meanwhile() -> None:
    process = busy()
    one = process.ask()
    process.say(A=0)
    process.board.known = [process.board.loads((A, B))]
    process.say(A=9)
    assert process.look() == [one]
    assert one.notes == (["picked"], ["routed"])
    assert one.endpoints == [A]


def test_nobody_overtakes_those_that_wait() -> None:
    process = busy()
    first = process.ask()
    process.say(A=0)
    second = process.ask()
    assert second.waits
    assert process.ask("batch").refused == (429, "saturated")
    assert process.look() == [first]
    process.say(A=0)
    assert process.look() == [second]
    process.say(A=0)
    assert process.ask().endpoints[0] == A


def test_what_is_not_urgent_does_not_wait_and_without_a_queue_nobody_does() -> None:
    assert busy().ask("batch").refused == (429, "saturated")
    assert not busy(max_queue=0).ask().waits


def test_no_more_wait_than_may() -> None:
    process = busy(max_queue=2)
    first, second = process.ask(user="ann"), process.ask(user="ann")
    third = process.ask(user="ann")
    assert third.refused == (429, "queue_full")
    assert ("retry-after", "1") in next(a for a in third.actions if isinstance(a, Reject)).headers
    assert third.notes == (["shed"], ["queue_full"])
    urgent = process.ask("chat", "bob")
    assert urgent.waits
    assert process.look() == [second]
    assert second.refused == (429, "queue_full")
    assert second.notes == (["shed"], ["evicted"])
    process.say(A=0, B=0)
    assert process.look() == [urgent, first]


def test_who_had_to_make_room_and_leaves_at_once_is_counted_as_that() -> None:
    process = busy(max_queue=1)
    first, urgent = process.ask(), process.ask("chat")
    first.leave()
    assert first.notes == ([], ["evicted"])
    assert process.look() == []
    process.say(A=0)
    assert process.look() == [urgent]


def test_a_bound_that_becomes_lower_holds_at_once() -> None:
    process = busy(max_queue=9)
    ann = [process.ask(user="ann") for _ in range(4)]
    bob, urgent = process.ask(user="bob"), process.ask("chat")
    process.reload(snapshot(max_queue=3))
    assert process.look() == ann[:0:-1], "of the least priority, of who has most of them, the youngest"
    assert [one.refused for one in ann[1:]] == [(429, "queue_full")] * 3
    assert [one.notes for one in ann[1:]] == [(["shed"], ["evicted"])] * 3
    assert process.picks.queues.waiting() == {("chat", "v1", ""): 3}
    process.say(A=0, B=0)
    assert process.look() == [urgent, ann[0]]
    process.say(A=0)
    assert process.look() == [bob]


def test_nobody_waits_longer_than_the_proxy() -> None:
    process = busy()
    first = process.ask()
    assert process.look(PATIENCE / 2) == []
    second = process.ask()
    assert process.look(PATIENCE / 2) == [first]
    assert first.refused == (429, "queue_timeout")
    assert first.notes == (["shed"], ["queue_timeout"])
    (waited,) = (action for action in first.actions if isinstance(action, Waited))
    assert waited.seconds == pytest.approx(PATIENCE)
    process.say(A=0)
    assert process.look() == [second]


def test_who_leaves_leaves_nothing_behind() -> None:
    process = busy()
    first, second = process.ask(), process.ask()
    first.leave()
    assert first.notes == ([], ["client_left"])
    process.say(A=0, B=0)
    assert process.look() == [second]
    second.leave()
    assert second.notes == (["picked"], ["routed"]), "it had gone"
    third = process.ask()
    process.say(A=1, B=1)
    fourth = process.ask()
    assert (third.waits, fourth.waits) == (False, True)
    fourth.leave()
    assert not process.picks.queues.by_cluster
    assert process.look() == [] == process.due


def test_a_subset_without_room_holds_up_no_other() -> None:
    process = busy(A, B, C)
    only_a, any_of_them, only_c = process.ask(subset=(A,)), process.ask(), process.ask(subset=(C,))
    process.say(C=0)
    assert process.look() == [any_of_them]
    process.say(B=0, C=0)
    assert process.look() == [only_c]
    process.say(A=0)
    assert process.look() == [only_a]
    assert [only_a.endpoints, only_c.endpoints] == [[A], [C]]
    process.say(A=9, B=9, C=9)
    assert process.ask().waits
    assert process.ask(subset=("10.9.9.9:80",)).refused == (503, "no_endpoint"), "at once"


def test_who_waits_for_others_is_not_waited_for() -> None:
    process = busy(A, B, C)
    assert process.ask(subset=(A,)).waits
    process.say(B=0)
    assert process.ask("batch").endpoints[0] == B
    process.say(B=0)
    assert process.ask().endpoints[0] == B
    assert process.ask(subset=(B, C)).waits
    process.say(B=0)
    assert process.ask("batch").refused == (429, "saturated")


def test_where_its_endpoints_are_to_be_avoided_it_goes_as_if_it_came_now() -> None:
    process = busy(A, B)
    one, other = process.ask(subset=(A,)), process.ask()
    process.avoided = frozenset((A,))
    assert process.ask(subset=(A,)).waits, "it has no other"
    process.say(B=0)
    assert one in process.look()
    assert (one.endpoints, other.endpoints) == ([A], [B])


def test_where_no_endpoint_is_left_they_are_told_so() -> None:
    process = busy()
    first = process.ask()
    process.unreachable = frozenset((A, B))
    assert process.look() == [first]
    assert first.refused == (503, "no_endpoint")
    assert first.notes == (["none_ready"], ["none_ready"])
    assert process.ask().refused == (503, "no_endpoint")
    process.unreachable = frozenset()
    last = process.ask()
    process.reload(snapshot(NOWHERE))
    assert process.look() == [last]
    assert last.refused == (503, "no_endpoint")


def test_a_reload_moves_those_that_wait() -> None:
    process = busy(max_queue=9)
    waiting = [process.ask() for _ in range(4)]
    process.reload(snapshot(B, C, max_queue=9))
    process.say(C=0)
    assert process.look() == [], "their own policies know no C"
    newer = process.ask()
    assert newer.endpoints[0] == C, "at once"
    process.say(B=0)
    assert process.look() == [waiting[0]]
    assert waiting[0].endpoints == [B]
    process.reload(snapshot(A, B, max_queue=0))
    assert process.look() == waiting[1:], "there is no queue any more"
    assert all(set(one.endpoints) == {A, B} for one in waiting[1:])
    process.reload(snapshot())
    last = process.ask()
    process.reload(Snapshot((Policy("chat", versions=(Version("v1", 1, (A, B)),)),)))
    assert process.look() == [last]
    assert last.notes == (["left_to_proxy"], ["routed"])
    assert last.endpoints == [""]


def test_a_reload_that_gives_grpc_servers_of_its_own_parts_those_that_wait() -> None:
    def view(*grpc: str) -> Snapshot:
        return snapshot(A, grpc=grpc, max_queue=9, saturation=Saturation(waiting=3))

    process = Process(view())
    process.say(A=9, B=9)
    plain, call = process.ask(), process.ask(kind="application/grpc")
    process.reload(view(A, B))
    process.say(A=0)
    assert process.look() == [plain, call]
    assert (plain.endpoints, call.endpoints) == ([A], [A]), "its own policies know no B"


class AnyUse(RuleBasedStateMachine):
    """Requests come and leave, servers and policies change: everybody gets one end, and nothing stays behind."""

    def __init__(self) -> None:
        super().__init__()
        self.process = busy(max_queue=3)
        self.asked: list[One] = []
        self.left: list[One] = []

    @rule(
        objective=st.sampled_from(["", "chat", "batch"]),
        user=st.sampled_from(["", "ann", "bob"]),
        subset=st.none() | st.sets(st.sampled_from(ADDRESSES)).map(lambda found: tuple(sorted(found))),
    )
    def comes(self, objective: str, user: str, subset: tuple[str, ...] | None) -> None:
        self.asked.append(self.process.ask(objective, user, subset))

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def leaves(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.asked))
        if one not in self.left:
            one.leave()
            self.left.append(one)

    @rule(endpoint=st.sampled_from("ABC"), number=st.integers(0, 1))
    def tells(self, endpoint: str, number: int) -> None:
        self.process.say(**{endpoint: number})

    @rule(seconds=st.sampled_from([LOOK_INTERVAL, PATIENCE / 2]))
    def looks(self, seconds: float) -> None:
        self.process.look(seconds)

    @rule(endpoints=st.sets(st.sampled_from(ADDRESSES), min_size=1), most=st.integers(0, 3))
    def reloads(self, endpoints: set[str], most: int) -> None:
        self.process.reload(snapshot(*sorted(endpoints), max_queue=most))

    @rule(those=st.sets(st.sampled_from(ADDRESSES)))
    def unreachable(self, those: set[str]) -> None:
        self.process.unreachable = frozenset(those)

    @invariant()
    def the_books_are_right(self) -> None:
        waiting = [one for one in self.asked if one.waits]
        queues = self.process.picks.queues
        dropped = len(queues._dropped)
        assert len(waiting) <= sum(queues.waiting().values()) + dropped <= len(waiting) + len(self.left)
        assert sum(queues.waiting().values()) <= 3
        assert bool(queues.by_cluster or dropped) <= bool(self.process.due), "somebody looks"
        for one in self.asked:
            picks, waits = one.notes
            assert len(picks) <= (not one.waits)
            assert picks or one.waits or one in self.left, "everybody else is told something"
            assert len(waits) <= 1
            if one.endpoints:
                assert set(one.endpoints) <= set(ADDRESSES) or one.endpoints == [""]

    def teardown(self) -> None:
        self.process.look(PATIENCE)
        assert not any(one.waits for one in self.asked)
        assert not self.process.picks.queues.by_cluster
        assert not self.process.due
        ends = Counter(end for one in self.asked for end in one.notes[0] or one.notes[1])
        assert ends.total() == len(self.asked)


TestAnyUse = AnyUse.TestCase
TestAnyUse.settings = settings(max_examples=6, stateful_step_count=25, deadline=None)
