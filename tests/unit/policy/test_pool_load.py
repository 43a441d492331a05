"""How busy pools are: what is free of one, and for how long a word counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.pool_load import MIN_FREE_SHARE, NO_LOADS, PoolLoads, ServerLoad


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
    assert ServerLoad(waiting, cache).free == pytest.approx(free)


def test_a_word_counts_for_a_while() -> None:
    loads = PoolLoads()
    assert loads.free(0.0) is NO_LOADS
    loads.note("west", ServerLoad(cache=0.5), 10.0)
    loads.note("east", ServerLoad(cache=0.2), 12.0)
    assert loads.free(12.0) == {"west": 0.5, "east": 0.8}
    assert loads.free(13.0) is loads.free(14.9), "nothing is made anew for each request"
    assert loads.free(15.5) == {"east": 0.8}
    assert loads.describe(15.5) == {"east": 0.8}
    assert loads.free(17.5) is NO_LOADS
    loads.note("west", ServerLoad(cache=0.9), 30.0)
    assert loads.free(30.0) == {"west": pytest.approx(0.1)}, "what was told long ago weighs nothing"


def test_servers_of_a_pool_tell_in_turns() -> None:
    loads = PoolLoads()
    loads.note("west", ServerLoad(cache=0.0), 0.0)
    for n in range(1, 200):
        loads.note("west", ServerLoad(cache=float(n % 2)), n / 100)
    assert 0.4 < loads.free(2.0)["west"] < 0.7
    loads.note("west", ServerLoad(cache=0.9), 5.9)
    assert loads.free(5.9)["west"] < 0.2, "after four seconds only the new word counts for much"


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 1e9), st.floats(0, 1), st.floats(0, 3)), max_size=30))
def test_what_is_free_is_a_share_and_never_nothing(words: list[tuple[str, float, float, float]]) -> None:
    loads, now = PoolLoads(), 0.0
    for pool, waiting, cache, pause in words:
        now += pause
        loads.note(pool, ServerLoad(waiting, cache), now)
        assert all(MIN_FREE_SHARE <= free <= 1 for free in loads.free(now).values())
