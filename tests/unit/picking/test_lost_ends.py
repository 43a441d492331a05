"""Ends that nobody was told of: found where a server is idle, or after the policy's timeout."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.picking.board_layout import LOST, PICKED_A_MINUTE_AGO
from extproc.picking.lost_ends import IDLE_FOR, MAX_TIMEOUT, LostEnds
from extproc.policy.metrics_page import PageLoad
from tests.unit.picking.boards import A, B, Row, board, report, wanted

IDLE = PageLoad(0.0, 0.0)


class Scene:
    """A board with one worker and a keeper; time goes on by the second."""

    def __init__(self, timeout: float = 1e9) -> None:
        self.board = board()
        self.row = Row(self.board, 0)
        self.row.want(wanted(A, B, timeout=timeout))
        self.ends = LostEnds(self.board)
        self.now = 100.0
        self.ends.find(self.now)

    def wait(self, seconds: int, load: PageLoad | None = None) -> None:
        for _ in range(seconds):
            self.now += 1
            if load is not None:
                report(self.board, A, load, self.now)
            self.ends.find(self.now)

    def pick(self, count: int = 1, ended: int = 0) -> None:
        for _ in range(count):
            self.row.begin(A)
        for _ in range(ended):
            self.row.end(A)

    @property
    def in_flight(self) -> float:
        return float(self.row.loads_at(self.now, A).in_flight[0])


def test_an_idle_server_has_nothing_in_flight() -> None:
    scene = Scene()
    scene.pick(5, ended=1)
    scene.wait(2, PageLoad(0.0, 4.0))
    assert scene.in_flight == 4
    scene.wait(int(IDLE_FOR) + 1, IDLE)
    assert scene.in_flight == 0
    scene.pick(2)
    assert scene.in_flight == 2
    scene.pick(0, ended=2)
    assert scene.in_flight == 0


@pytest.mark.parametrize(
    "load", [PageLoad(1.0, 0.0), PageLoad(0.0, 1.0), PageLoad(0.0, None), PageLoad(None, 0.0), None]
)
def test_others_may_have(load: PageLoad | None) -> None:
    scene = Scene()
    scene.pick()
    scene.wait(30, load)
    assert scene.in_flight == 1


def test_a_server_is_not_idle_while_requests_go_there() -> None:
    scene = Scene()
    for _ in range(30):
        scene.pick(2, ended=1)
        scene.wait(1, IDLE)
    assert scene.in_flight == 30


def test_an_old_word_says_nothing() -> None:
    scene = Scene()
    scene.wait(1, IDLE)
    scene.pick()
    scene.wait(30)
    assert scene.in_flight == 1


@pytest.mark.parametrize(("timeout", "seconds"), [(60.0, 60), (10.0, 10), (1e9, int(MAX_TIMEOUT))])
def test_nothing_is_in_flight_for_longer_than_the_timeout(timeout: float, seconds: int) -> None:
    scene = Scene(timeout)
    scene.pick(3)
    scene.wait(seconds // 2)
    scene.pick(2, ended=1)
    scene.wait(seconds // 2 - 1)
    assert scene.in_flight == 4
    scene.wait(8)
    assert scene.in_flight == 2  # of those sent later, at most; which of them has ended, nobody knows
    scene.wait(seconds)
    assert scene.in_flight == 0


def test_late_ends_make_nothing_negative() -> None:
    scene = Scene()
    scene.pick(5)
    scene.wait(4, IDLE)
    scene.pick(0, ended=5)
    scene.wait(1)
    scene.pick(3)
    assert scene.in_flight == 3


def test_a_slot_that_passes_on_brings_no_past_along() -> None:
    scene = Scene(timeout=10.0)
    scene.pick(7)
    scene.wait(20)
    scene.row.want(wanted(B))
    scene.row.want(wanted(B, "10.9.9.9:1", timeout=10.0))
    scene.wait(1)
    scene.row.begin("10.9.9.9:1")
    scene.wait(1)
    assert scene.row.loads_at(scene.now, "10.9.9.9:1").in_flight.tolist() == [1]
    assert scene.row.described_at(scene.now, "10.9.9.9:1")[0].picks == 1


def test_picks_of_the_last_minute() -> None:
    scene = Scene()
    scene.pick(3)
    scene.wait(40)
    assert scene.row.described_at(scene.now, A)[0].picks == 3
    scene.pick(1)
    scene.wait(30)
    assert scene.row.described_at(scene.now, A)[0].picks == 1
    assert not scene.board.losses[PICKED_A_MINUTE_AGO, 0]


STEPS = st.lists(
    st.tuples(
        st.integers(0, 4), st.integers(0, 4), st.integers(0, 8), st.sampled_from([None, IDLE, PageLoad(0.0, 3.0)])
    ),
    max_size=12,
)


@given(STEPS)
def test_in_flight_is_never_less_than_none_or_more_than_was_sent_lately(
    steps: list[tuple[int, int, int, PageLoad | None]],
) -> None:
    scene, sent = Scene(timeout=10.0), list[tuple[float, int]]()
    for picks, ends, seconds, load in steps:
        scene.pick(picks, ends)
        sent.append((scene.now, picks))
        scene.wait(seconds, load)
        lately = sum(count for at, count in sent if at >= scene.now - 16)
        present = scene.board.counts[:, 0].sum() - scene.board.counts[:, 1].sum()
        assert 0 <= scene.in_flight <= max(lately, picks)
        assert scene.board.losses[LOST, 1] <= max(present, 0) or not seconds
