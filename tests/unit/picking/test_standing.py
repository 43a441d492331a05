"""How endpoints stand: by reports, by what was sent since, and where nothing is known."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.picking.candidates import Candidates
from extproc.picking.loads import EndpointLoads, unknown, unknown_table
from extproc.picking.standing import BELIEVED, NEARLY, READING_RATE, Standing
from extproc.policy.picking import Picking, Saturation

THREE = Candidates(("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"))


def loads(adapters: tuple[frozenset[str], ...] = (), /, **rows: list[float]) -> EndpointLoads:
    found = EndpointLoads(unknown_table(3), adapters)
    found.age[:] = 0.1
    for name, row in rows.items():
        getattr(found, name)[:] = row
    return found


def standing(found: EndpointLoads, candidates: Candidates = THREE, spec: Picking | None = None) -> Standing:
    return Standing(spec or Picking(), candidates, found, 1000.0)


def loads_of(found: Standing, adapter: str = "") -> list[float]:
    """The scores of a request of which it does not count what is read."""
    return [found.score(place, 0, 0, weight) for place, weight in enumerate(found.weights_for(adapter))]


def test_what_was_sent_since_a_report_is_not_in_it() -> None:
    found = standing(loads(waiting=[0, 2, 0], running=[4, 4, 4], sent_since=[0, 0, 3]))
    assert list(found.batch) == [4, 6, 7]
    assert loads_of(found) == [5, 7, 8]
    assert list(found.unread) == [0, 2000, 3000]


def test_nobody_works_on_less_than_what_was_sent_there() -> None:
    assert list(standing(loads(waiting=[0] * 3, running=[4] * 3, in_flight=[9, 0, 4])).batch) == [9, 4, 4]


def test_counts_that_nobody_took_back_leave_the_order_of_fresh_reports() -> None:
    drifted = standing(loads(waiting=[0, 2, 0], running=[0, 8, 4], in_flight=[900, 700, 800]))
    assert list(drifted.batch) == [BELIEVED, 20 + BELIEVED, 8 + BELIEVED]
    unknown_ones = standing(loads(in_flight=[900, 700, 800]))
    assert list(unknown_ones.batch) == [900, 700, 800]


def test_there_may_be_more_endpoints_than_lots() -> None:
    count = 70_000
    many = Candidates(tuple(f"server-{n}:80" for n in range(count)))
    found = standing(EndpointLoads(unknown_table(count)), many)
    assert len(set(found.best(found.ready, 0, (), (), "", 2**64 - 1))) == 3


def test_unknown_is_not_free() -> None:
    nan = float("nan")
    known = {"waiting": [0.0, 0.0, nan], "running": [4.0, 8.0, nan]}
    assert list(standing(loads(**known)).batch) == [4, 8, 6]
    assert list(standing(loads(**known, in_flight=[0, 0, 7])).batch) == [4, 8, 7]
    assert list(standing(loads(**known)).known) == [1, 1, 0]


@pytest.mark.parametrize(("age", "known"), [(2.0, True), (2.1, False)])
def test_what_is_stale_is_unknown(age: float, known: bool) -> None:
    found = standing(loads(waiting=[0] * 3, running=[0, 2, 4], age=[age, 0, 0]))
    assert bool(found.known[0]) is known
    assert found.batch[0] == (0 if known else 3)


def test_half_a_report_counts_for_what_it_says() -> None:
    nan = float("nan")
    found = standing(loads(waiting=[3, nan, nan], running=[nan, 5, nan]))
    assert list(found.batch) == [3, 5, 4]
    assert list(found.known) == [1, 1, 0]


def test_who_may_have_nothing_tells_nothing_of_others() -> None:
    nan = float("nan")
    candidates = Candidates(THREE.addresses, b"\1\0\1")
    found = standing(loads(waiting=[0, 9, nan], running=[2, 9, nan]), candidates)
    assert loads_of(found)[::2] == [3, 3]
    assert found.places == [0, 2]
    assert sorted(found.best(found.ready, 0, (), (), "", 1)) == [0, 2]


def test_an_adapter_makes_a_difference_where_it_is_loaded() -> None:
    found = standing(loads((frozenset(("sql",)), frozenset(), frozenset(("sql", "law")))))
    assert loads_of(found, "sql") == loads_of(found, "sql") == [1, 5, 1]
    assert loads_of(found, "base") == [1, 1, 1]
    assert loads_of(standing(loads()), "sql") == [1, 1, 1]
    weightless = loads((frozenset(("sql",)), frozenset(), frozenset()))
    assert loads_of(standing(weightless, spec=Picking(adapter_weight=0)), "sql") == [1, 1, 1]


def test_an_adapter_that_nobody_has_goes_where_few_others_are() -> None:
    full, half, two = frozenset("abcd"), frozenset("ef"), frozenset("gh")
    before = standing(loads((full, half, two)))
    assert loads_of(before, "a") == [1, 9, 9]
    after = standing(loads((full - {"a"}, half, frozenset("i"))))
    assert loads_of(after, "a") == [1, 1, 1], "as far as is known it is no adapter"
    after.follow(before, 0.1)
    assert loads_of(after, "a") == [13, 9, 5]
    assert loads_of(after, "base") == [1, 1, 1]
    later = standing(loads((frozenset("b"), frozenset(), frozenset())))
    later.follow(after, 0.1)
    assert loads_of(later, "a") == [5, 5, 5]


@pytest.mark.parametrize(
    ("waiting", "cache", "saturated"), [(5, 0.8, False), (6, 0.1, True), (0, 0.81, True), (0, float("nan"), False)]
)
def test_saturated_is_above_a_threshold(waiting: float, cache: float, saturated: bool) -> None:
    found = standing(loads(waiting=[waiting, 9, 9], running=[1] * 3, cache=[cache, 0, 0]))
    assert list(found.saturated) == [saturated, True, True]
    assert found.all_saturated is saturated


@pytest.mark.parametrize("stale", [True, False])
def test_what_is_unknown_is_saturated_if_the_policy_says_so(stale: bool) -> None:
    found = Standing(Picking(saturation=Saturation(stale=stale)), THREE, unknown(3), 0)
    assert found.all_saturated is stale


def test_loads_of_others_are_refused() -> None:
    with pytest.raises(ValueError, match="loads of 2 endpoints, where there are 3"):
        standing(unknown(2))


LOADS = st.lists(st.sampled_from([0.0, 1.0, 2.0, 7.0]), min_size=3, max_size=3)


@given(LOADS, LOADS, st.lists(st.integers(0, 1), min_size=3, max_size=3), st.integers(0, 300), st.integers(0, 1 << 64))
def test_the_best_is_first_and_the_others_follow(
    waiting: list[float], running: list[float], may: list[int], cached: int, lot: int
) -> None:
    found = standing(loads(waiting=waiting, running=running))
    for _ in range(2):
        best = found.best(bytes(may), 300, [([0, 2], cached)], [(2, 150.0), (1, 40.0)], "", lot)
        covered = [cached, 40, max(cached, 150)]
        scores = [found.score(place, 300, covered[place], 1) for place in best]
        assert all(score <= (1 + NEARLY) * after for score, after in pairwise(scores))
        assert sorted(best) == [place for place in range(3) if may[place]]


def test_what_was_sent_counts_until_it_can_be_read() -> None:
    found, later = loads(waiting=[0, 0, 4], running=[1] * 3), loads(waiting=[0, 0, 4], running=[1] * 3)
    before, after = standing(found), standing(later)
    for place in range(3):
        before.sent(place, 3000)
    after.follow(before, 1000 / READING_RATE)
    assert list(after.unread) == [2000, 2000, 4000]
    again = standing(later)
    again.follow(after, 1500 / READING_RATE)
    assert list(again.unread) == [500, 500, 4000]
