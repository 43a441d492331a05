"""Sampling: what is drawn, what is told, and what is made of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.envoy.actions import Mutation
from extproc.exchange.sampling import LEFT_OUT, OBSERVE, SAMPLED, is_left_out, with_sampling

MUTATION = Mutation((("x-model-name", "m"),), ("x-gpu-pool",), (("policy", "p"),))


@pytest.mark.parametrize(
    ("share", "entropy", "value"),
    [
        (0.0, b"\0" * 8, LEFT_OUT),
        (0.25, b"\x3f" + b"\xff" * 7, SAMPLED),
        (0.25, b"\x40" + b"\0" * 7, LEFT_OUT),
        (0.999, b"\xff" * 8, LEFT_OUT),
        (0.5, b"\0" * 6 + b"\xff\xff", SAMPLED),
    ],
)
def test_the_share_is_drawn_from_the_entropy(share: float, entropy: bytes, value: str) -> None:
    found = with_sampling(MUTATION, share, entropy)
    assert found == Mutation(MUTATION.set, MUTATION.remove, (("policy", "p"), (OBSERVE, value)))


@given(st.floats(0, 1, exclude_max=True), st.binary(min_size=8, max_size=8))
def test_more_is_sampled_with_a_greater_share(share: float, entropy: bytes) -> None:
    """Raising the share leaves nobody out who was in."""
    sampled = [
        dict(with_sampling(MUTATION, each, entropy).metadata)[OBSERVE] == SAMPLED for each in (share, (1 + share) / 2)
    ]
    assert sampled != [True, False]


@pytest.mark.parametrize(
    ("metadata", "drawn", "left_out"),
    [
        ({OBSERVE: LEFT_OUT}, 0.0, True),
        ({OBSERVE: SAMPLED}, 0.9, False),
        ({}, 0.49, False),
        ({}, 0.5, True),
    ],
)
def test_what_was_told_counts_before_what_is_drawn(metadata: dict[str, str], drawn: float, left_out: bool) -> None:
    assert is_left_out(metadata, 0.5, drawn) is left_out
