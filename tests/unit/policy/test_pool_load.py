"""How busy pools are: the free share of one, and for how long a report counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.pool_load import MIN_FREE_SHARE, NO_REPORTS, PoolLoads, ServerLoad


@pytest.mark.parametrize(
    ("waiting", "cache", "free"),
    [
        (0, 0, 1),
        (None, None, 1),
        (0, 0.4, 0.6),
        (1, 0.1, 0.8),
        (4, None, 0.2),
        (5, 0, MIN_FREE_SHARE),
        (900, 1, MIN_FREE_SHARE),
    ],
)
def test_the_scarcer_of_two_things_counts(waiting: float | None, cache: float | None, free: float) -> None:
    assert ServerLoad(waiting, cache).free_share == pytest.approx(free)


def test_a_report_counts_for_a_while() -> None:
    loads = PoolLoads()
    assert loads.free_shares(0.0) is NO_REPORTS
    loads.note("west", ServerLoad(cache=0.5), 10.0)
    loads.note("east", ServerLoad(cache=0.2), 12.0)
    assert loads.free_shares(12.0) == {"west": 0.5, "east": 0.8}
    assert loads.free_shares(13.0) is loads.free_shares(14.9), "nothing is made anew for each request"
    assert loads.free_shares(15.5) == {"east": 0.8}
    assert loads.describe(15.5) == {"east": 0.8}
    assert loads.free_shares(17.5) is NO_REPORTS
    loads.note("west", ServerLoad(cache=0.9), 30.0)
    assert loads.free_shares(30.0) == {"west": pytest.approx(0.1)}, "an old report weighs nothing"


def test_servers_of_a_pool_report_in_turns() -> None:
    loads = PoolLoads()
    loads.note("west", ServerLoad(cache=0.0), 0.0)
    for n in range(1, 200):
        loads.note("west", ServerLoad(cache=float(n % 2)), n / 100)
    assert 0.4 < loads.free_shares(2.0)["west"] < 0.7
    loads.note("west", ServerLoad(cache=0.9), 5.9)
    assert loads.free_shares(5.9)["west"] < 0.2, "after four seconds the new report counts nearly alone"


@pytest.mark.parametrize(
    ("age", "weight"), [(0.0, 0.1), (0.1, 0.1), (1.0, 0.5), (2.0, 0.75), (4.9, 1 - 0.5**4.9), (5.0, 1.0), (9.0, 1.0)]
)
def test_a_report_weighs_more_the_older_the_average_is(age: float, weight: float) -> None:
    loads = PoolLoads()
    loads.note("west", ServerLoad(cache=0.0), 100.0)
    loads.note("west", ServerLoad(cache=0.5), 100.0 + age)
    assert loads.free_shares(100.0 + age)["west"] == pytest.approx(1 - 0.5 * weight)


def test_a_report_expires_on_time() -> None:
    loads = PoolLoads()
    loads.note("west", ServerLoad(cache=0.5), 10.0)
    assert loads.free_shares(14.999) == {"west": 0.5}
    assert loads.free_shares(15.0) is NO_REPORTS
    assert loads.describe(15.0) == {}


def test_shares_for_people_are_rounded_and_sorted() -> None:
    loads = PoolLoads()
    loads.note("west", ServerLoad(waiting=1 / 3), 0.0)
    loads.note("east", ServerLoad(), 0.0)
    assert list(loads.describe(0.0).items()) == [("east", 1.0), ("west", 0.933)]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 1e9), st.floats(0, 1), st.floats(0, 3)), max_size=30))
def test_a_free_share_is_never_nothing(words: list[tuple[str, float, float, float]]) -> None:
    loads, now = PoolLoads(), 0.0
    for pool, waiting, cache, pause in words:
        now += pause
        loads.note(pool, ServerLoad(waiting, cache), now)
        assert all(MIN_FREE_SHARE <= free <= 1 for free in loads.free_shares(now).values())


def test_numbers_are_averaged_one_by_one_and_expire_so() -> None:
    loads = PoolLoads()
    loads.note("west", ServerLoad(waiting=2.0, cache=0.5), 10.0)
    loads.note("west", ServerLoad(gpu=0.8), 11.0)
    loads.note("west", ServerLoad(gpu=0.4), 12.0)
    assert loads.numbers(12.0) == {"west": {"free": 0.5, "waiting": 2.0, "cache": 0.5, "gpu": pytest.approx(0.6)}}
    assert loads.free_shares(12.0) == {"west": 0.5}
    assert loads.numbers(15.5) == {"west": {"gpu": pytest.approx(0.6)}}
    assert loads.free_shares(15.5) == {}
    assert loads.numbers(17.0) == {}
