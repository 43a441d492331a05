"""Sampling: what share is observed, what is drawn and told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.bodies.request import InferenceRequest
from extproc.envoy.actions import Mutation
from extproc.exchange.sampling import (
    END_RATE,
    FULL_RATE,
    LEFT_OUT,
    MAX_ROWS,
    OBSERVE,
    OBSERVE_TO_END,
    STREAMED,
    AdaptiveShares,
    Rate,
    Row,
    end_share_told,
    share_told,
    with_sampling,
)
from extproc.policy.circuit_breaker import CircuitBreaker
from extproc.policy.decision import Decision
from extproc.policy.rollout_plan import Phase, RolloutState
from extproc.policy.snapshot import Policy, Version

MUTATION = Mutation((("x-model-name", "m"),), ("x-gpu-pool",), (("policy", "p"),))
CHAT = InferenceRequest("openai", "chat.completions", "m")
SESSION = InferenceRequest("openai", "realtime", "m")
FIRST, LAST = b"\0" * 8, b"\xff" * 8
"""Entropy that is drawn with any share but 0, and with none but 1."""
ROW: Row = ("m", "v1", "", True)
DOCUMENTS: Row = ("m", "v1", "", False)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def marked(
    share: float | None,
    entropy: bytes = FIRST,
    shares: AdaptiveShares | None = None,
    request: InferenceRequest = CHAT,
    versions: tuple[str, ...] = ("v1",),
    **decision: Any,
) -> str | None:
    """What is told; None: nothing."""
    policy = Policy("p", models=("m",), versions=tuple(map(Version, versions)), sampling=share)
    made = Decision(request, policy, **{"pattern": "m", "version": "v1", **decision})
    found = with_sampling(MUTATION, made, entropy, shares, streamed=True)
    assert (found.set, found.remove) == (MUTATION.set, MUTATION.remove)
    assert found.metadata[:1] == MUTATION.metadata
    return dict(found.metadata).get(OBSERVE)


def shares_at(rate: float, count: int = 400, row: Row = ROW) -> list[tuple[float, float]]:
    """The shares of requests that come at an even rate: observed, and read to their ends."""
    clock = Clock()
    shares = AdaptiveShares(clock)
    found = []
    for _ in range(count):
        clock.now += 1 / rate
        found.append(shares.shares(row))
    return found


def observed_at(rate: float, count: int = 400) -> list[float]:
    return [share for share, _ in shares_at(rate, count)]


@pytest.mark.parametrize(
    ("share", "entropy", "value"),
    [
        (0.0, FIRST, LEFT_OUT),
        (0.25, b"\x3f" + b"\xff" * 7, "0.25"),
        (0.25, b"\x40" + b"\0" * 7, LEFT_OUT),
        (0.999, LAST, LEFT_OUT),
        (0.5, b"\0" * 6 + b"\xff\xff", "0.5"),
        (1.0, LAST, None),
        (None, LAST, None),
    ],
)
def test_the_share_is_drawn_from_the_entropy_and_told(share: float | None, entropy: bytes, value: str | None) -> None:
    assert marked(share, entropy) == value


@given(st.floats(0, 1, exclude_max=True), st.binary(min_size=8, max_size=8))
def test_more_is_sampled_with_a_greater_share(share: float, entropy: bytes) -> None:
    """Raising the share leaves nobody out who was in."""
    sampled = [marked(each, entropy) != LEFT_OUT for each in (share, (1 + share) / 2)]
    assert sampled != [True, False]


@given(st.floats(0, 1, exclude_max=True, exclude_min=True), st.integers(0, 2**48 - 1))
def test_what_is_told_is_the_share_to_the_last_bit(share: float, drawn: int) -> None:
    told = marked(share, drawn.to_bytes(6))
    assert share_told({OBSERVE: told or ""}) == (share if drawn / 2**48 < share else 0)


@pytest.mark.parametrize("share", [0.0, 0.5, None])
def test_sessions_are_observed_whatever_the_share(share: float | None) -> None:
    busy = AdaptiveShares(Clock())
    assert [marked(share, LAST, busy, SESSION) for _ in range(5 * FULL_RATE)] == [None] * 5 * FULL_RATE


def test_who_belongs_to_no_policy_is_observed() -> None:
    assert with_sampling(MUTATION, Decision(CHAT), LAST, None, streamed=True) is MUTATION


@pytest.mark.parametrize("rate", [0.01, 1, 10, FULL_RATE, 1.9 * FULL_RATE])
def test_at_few_answers_all_are_observed(rate: float) -> None:
    assert set(observed_at(rate)) == {1.0}
    assert set(shares_at(rate, row=DOCUMENTS)) == {(1.0, 1.0)}


def test_the_full_rate_is_twenty_a_second() -> None:
    assert set(observed_at(39.9)) == {1.0}
    assert observed_at(40.1)[-1] == 0.5


@pytest.mark.parametrize(
    ("rate", "shares"),
    [
        *[(1, (1, 0)), (2.4, (1, 0)), (2.9, (1, 0)), (3.0, (1, 1)), (4.9, (1, 3)), (5.1, (1, 4)), (10.1, (1, 8))],
        *[(39.9, (1, 15)), (40.1, (1 / 2, 16)), (79, (1 / 2, 19)), (81, (1 / 4, 20)), (161, (1 / 8, 24))],
    ],
)
def test_of_many_streams_few_are_read_to_their_ends(rate: float, shares: tuple[float, int]) -> None:
    """By quarters of powers of two. Documents come in one piece or a few: they are read whole, or not at all."""
    assert shares_at(rate, 2000)[-1] == (shares[0], 0.5 ** (shares[1] / 4))
    assert shares_at(rate, 2000, DOCUMENTS)[-1] == (shares[0], shares[0])


@settings(max_examples=30)
@given(st.floats(2.05 * FULL_RATE, 2000))
def test_of_many_answers_once_or_twice_the_full_rate_is_observed(rate: float) -> None:
    share, to_end = shares_at(rate, int(8 * rate))[-1]
    assert FULL_RATE * 0.99 <= share * rate <= 2 * FULL_RATE * 1.01
    assert END_RATE * 0.99 <= to_end * rate <= 1.2 * END_RATE


def test_the_least_share_is_one_in_65536() -> None:
    shares = AdaptiveShares(Clock())
    shares.shares(ROW)
    shares._rates[ROW].per_second = 1e9
    assert shares.shares(ROW) == (1 / 65536, 1 / 65536)


def test_a_burst_is_followed_within_a_second_and_so_is_its_end() -> None:
    clock = Clock()
    shares = AdaptiveShares(clock)
    burst = []
    for _ in range(2000):
        clock.now += 0.001
        burst.append(shares.shares(ROW)[0])
    assert burst[: 2 * FULL_RATE - 2] == [1.0] * (2 * FULL_RATE - 2)
    assert sum(burst[:1000]) < 200
    assert burst[-1] <= 1 / 32
    clock.now += 1.0
    assert shares.shares(ROW) == (1.0, 1.0)


def test_rows_have_rates_of_their_own() -> None:
    clock = Clock()
    shares = AdaptiveShares(clock)
    for _ in range(10 * FULL_RATE):
        shares.shares(ROW)
    assert shares.shares(ROW) < (1, 1)
    for other in (("n", "v1", "", True), ("m", "v2", "", True), ("m", "v1", "a100", True), DOCUMENTS):
        assert shares.shares(other) == (1.0, 1.0)
    assert shares.shares(ROW) < (1, 1)


def test_the_rows_that_are_kept_are_bounded() -> None:
    shares = AdaptiveShares(Clock())
    for number in range(3 * FULL_RATE * MAX_ROWS // 100):
        shares.shares((f"m{number}", "", "", True))
    for _ in range(3 * FULL_RATE):
        shares.shares(ROW)
    assert shares.shares(ROW)[0] == 0.5
    for number in range(MAX_ROWS + 1):
        shares.shares((f"n{number}", "", "", True))
    assert shares.shares(ROW)[0] == 1.0


def test_versions_that_clients_name_make_no_rows() -> None:
    """A policy without versions passes on the client's own."""
    shares = AdaptiveShares(Clock())
    told = {marked(None, LAST, shares, versions=(), version=f"v{number}") for number in range(10 * FULL_RATE)}
    assert told == {None, LEFT_OUT}


@pytest.mark.parametrize(("rate", "told"), [(15, None), (70, None), (200, "0.5"), (1000, "0.125")])
def test_four_times_as_many_are_observed_for_a_circuit_breaker(rate: float, told: str | None) -> None:
    clock = Clock()
    shares = AdaptiveShares(clock)
    made = Decision(CHAT, Policy("p", models=("m",), versions=(Version("v1"),), breaker=CircuitBreaker()), "m", "v1")
    for _ in range(3000):
        clock.now += 1 / rate
        found = dict(with_sampling(MUTATION, made, FIRST, shares, streamed=True).metadata)
    assert (found.get(OBSERVE), found[STREAMED]) == (told, "true")
    assert STREAMED not in dict(with_sampling(MUTATION, made, FIRST, shares, streamed=False).metadata)


def told_at(rate: int, entropy: bytes, share: float | None = None, **policy: Any) -> dict[str, str]:
    """What is told of the last of so many streams within an instant."""
    shares, owner = AdaptiveShares(Clock()), Policy("p", models=("m",), sampling=share, **policy)
    made = Decision(CHAT, owner, pattern="m", version="v1")
    for _ in range(rate - 1):
        with_sampling(MUTATION, made, LAST, shares, streamed=True)
    metadata = with_sampling(MUTATION, made, entropy, shares, streamed=True).metadata
    assert metadata[:1] == MUTATION.metadata
    return dict(metadata[1:])


def drawn(share: float) -> bytes:
    """Entropy that is drawn with greater shares only."""
    return int(share * 2**48).to_bytes(6) + b"\0\0"


@pytest.mark.parametrize(
    ("rate", "entropy", "told"),
    [
        (2, LAST, {}),
        (10, drawn(0.249), {OBSERVE_TO_END: "0.25"}),
        (10, drawn(0.25), {OBSERVE_TO_END: LEFT_OUT}),
        (80, drawn(0.031), {OBSERVE: "0.25", OBSERVE_TO_END: "0.03125"}),
        (80, drawn(0.032), {OBSERVE: "0.25", OBSERVE_TO_END: LEFT_OUT}),
        (80, drawn(0.25), {OBSERVE: LEFT_OUT}),
    ],
)
def test_what_is_read_to_its_end_is_drawn_among_what_is_observed(
    rate: int, entropy: bytes, told: dict[str, str]
) -> None:
    assert told_at(rate, entropy) == told


def test_a_share_that_a_policy_names_is_read_to_its_end() -> None:
    assert told_at(80, FIRST, 0.5) == {OBSERVE: "0.5"}
    assert told_at(80, LAST, 1.0) == {}


@pytest.mark.parametrize("phase", ["Progressing", "Paused", "RollingBack", "Failed", "Completed"])
def test_in_the_midst_of_a_rollout_streams_are_read_to_their_ends(phase: Phase) -> None:
    """Its guards judge by what was read, and wait for as much as they need."""
    found = told_at(80, drawn(0.2), rollout_state=RolloutState("p", "v2", phase, 5, 0.0))
    assert found == {OBSERVE: "0.25"} | ({OBSERVE_TO_END: LEFT_OUT} if phase in ("Failed", "Completed") else {})


def test_equal_decisions_share_a_mutation() -> None:
    """Its bytes are made once."""
    policy = Policy("p", sampling=0.5)
    one, two = (with_sampling(MUTATION, Decision(CHAT, policy), FIRST, None, streamed=True) for _ in range(2))
    assert one is two


@given(st.lists(st.floats(0, 10), max_size=50), st.floats(0, 10))
def test_a_rate_counts_the_last_second(gaps: list[float], gap: float) -> None:
    rate, now = Rate(), 0.0
    for each in gaps:
        now += each
        assert 1 <= rate.note(now) <= len(gaps)
    before = rate.per_second
    assert rate.note(now + gap) <= before + 1
    if gap >= 1:
        assert rate.per_second == pytest.approx(1), "sums of gaps are rounded"


@pytest.mark.parametrize(
    ("told", "share"),
    [({}, 1.0), ({OBSERVE: LEFT_OUT}, 0.0), ({OBSERVE: "0.25"}, 0.25), ({OBSERVE: "1e-05"}, 1e-5)]
    + [({OBSERVE: nonsense}, 1.0) for nonsense in ("", "x", "-1", "2", "nan", "inf")],
)
def test_what_is_told_is_read(told: dict[str, str], share: float) -> None:
    assert share_told(told) == end_share_told(told) == share
    also = {OBSERVE_TO_END: told[OBSERVE]} if told else {}
    assert end_share_told(also | {OBSERVE: "0.5"}) == (share if told else 0.5)
    assert share_told(also | {OBSERVE: "0.5"}) == 0.5
