"""The canary's arithmetic: shares follow weights, keys move only towards what grew, every process agrees."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from math import log, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.rendezvous import MAX_KNOWN, MAX_KNOWN_KEY, RendezvousHash

KEYS = [f"user-{n}".encode() for n in range(20_000)]


def canary(v1: float, v2: float) -> RendezvousHash[str]:
    return RendezvousHash("llama", [("v1", v1, "v1"), ("v2", v2, "v2")])


def test_share_is_within_three_standard_deviations_of_the_weight() -> None:
    for weight in (1, 5, 10, 33, 50):
        expected = weight / 100
        share = sum(canary(100 - weight, weight).choose(key) == "v2" for key in KEYS) / len(KEYS)
        assert abs(share - expected) < 3 * sqrt(expected * (1 - expected) / len(KEYS)), (weight, share)


def test_weights_need_not_sum_to_a_hundred() -> None:
    small, large = canary(9, 1), canary(900_000, 100_000)
    assert [small.choose(k) for k in KEYS] == [large.choose(k) for k in KEYS]


def test_raising_the_canary_moves_no_key_off_it() -> None:
    before, after = canary(90, 10), canary(80, 20)
    on_canary = [key for key in KEYS if before.choose(key) == "v2"]
    assert all(after.choose(key) == "v2" for key in on_canary)
    assert sum(after.choose(key) == "v2" for key in KEYS) > 1.8 * len(on_canary)


def test_two_processes_agree_on_every_key() -> None:
    program = (
        "from extproc.policy.rendezvous import RendezvousHash\n"
        "import sys\n"
        "r = RendezvousHash('llama', [('v1', 90, '1'), ('v2', 10, '2')])\n"
        "sys.stdout.write(''.join(r.choose(b'user-%d' % n) for n in range(20000)))\n"
    )
    # Another hash seed each: nothing may hang on Python's own hash().
    runs = [
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] == "".join((canary(90, 10).choose(k) or "")[1:] for k in KEYS)


def test_the_algorithm_is_the_documented_one() -> None:
    """Written out a second time: another implementation that follows the docstring must agree."""

    def arrival(name: str, weight: float, key: bytes) -> float:
        digest = hashlib.blake2b(b"llama\0" + name.encode() + b"\0" + key, digest_size=8).digest()
        return -log(((int.from_bytes(digest, "big") >> 11) + 0.5) / 2**53) / weight

    for key in KEYS:
        expected = "v1" if arrival("v1", 90, key) < arrival("v2", 10, key) else "v2"
        assert canary(90, 10).choose(key) == expected


@given(st.lists(st.integers(0, 5), min_size=1, max_size=5), st.binary(max_size=40))
def test_only_entries_with_a_weight_win(weights: list[int], key: bytes) -> None:
    chosen = RendezvousHash("p", [(str(i), w, i) for i, w in enumerate(weights)]).choose(key)
    assert chosen is None if not any(weights) else chosen is not None and weights[chosen] > 0


@given(st.lists(st.integers(0, 5), min_size=1, max_size=5), st.binary(max_size=40))
def test_who_comes_next_is_chosen_without_those_before(weights: list[int], key: bytes) -> None:
    entries = [(str(i), w, i) for i, w in enumerate(weights)]
    for place in RendezvousHash("p", entries).ranked(key):
        assert RendezvousHash("p", entries).choose(key) == place
        entries = [entry for entry in entries if entry[2] != place]
    assert not any(weight for _, weight, _ in entries)


@given(
    st.lists(st.integers(1, 50), min_size=2, max_size=5), st.integers(0, 4), st.integers(1, 100), st.binary(min_size=1)
)
def test_a_larger_weight_only_attracts(weights: list[int], which: int, more: int, key: bytes) -> None:
    which %= len(weights)
    before = RendezvousHash("p", [(str(i), w, i) for i, w in enumerate(weights)]).choose(key)
    weights[which] += more
    after = RendezvousHash("p", [(str(i), w, i) for i, w in enumerate(weights)]).choose(key)
    assert after in (before, which)


def test_the_hash_is_a_number_strictly_between_0_and_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extreme digests, which no key is known to have: their logarithms must exist and must differ."""

    class Digest:
        def __init__(self, data: bytes, *, digest_size: int) -> None:
            self.data = data
            assert digest_size == 8

        def copy(self) -> Digest:
            return self

        def update(self, key: bytes) -> None:
            pass

        def digest(self) -> bytes:
            return {b"salt\0zeros\0": bytes(8), b"salt\0half\0": b"\x80" + bytes(7)}.get(self.data, b"\xff" * 8)

    monkeypatch.setattr(hashlib, "blake2b", Digest)
    chosen = RendezvousHash("salt", [("zeros", 1, "zeros"), ("ones", 1, "ones")]).choose(b"key")
    assert chosen == "ones", "the largest number arrives first"
    for arrival, first in ((-log(0.5 / 2**53) - 0.01, "half"), (-log(0.5 / 2**53) + 0.01, "zeros")):
        weight = -log(0.5) / arrival
        assert RendezvousHash("salt", [("zeros", 1, "zeros"), ("half", weight, "half")]).choose(b"key") == first


def test_a_scale_moves_shares_for_this_time_only() -> None:
    rendezvous = RendezvousHash("salt", [("a", 1, "a"), ("b", 1, "b")])
    keys = [str(n).encode() for n in range(4000)]
    before = [rendezvous.choose(key) for key in keys]
    scaled = [rendezvous.choose(key, lambda value: 0.25 if value == "a" else 1.0) for key in keys]
    assert scaled.count("a") / len(keys) == pytest.approx(0.2, abs=0.03)
    assert all(now == "b" or then == "a" for then, now in zip(before, scaled, strict=True)), "keys only leave a"
    assert [rendezvous.choose(key) for key in keys] == before


def test_what_is_remembered_is_what_would_be_chosen() -> None:
    remembering = canary(70, 30)
    twice = [*KEYS[:3_000], *KEYS[:3_000]]
    assert [remembering.choose_again(key) for key in twice] == [canary(70, 30).choose(key) for key in twice]


def test_few_and_short_keys_are_remembered() -> None:
    remembering = canary(70, 30)
    long = b"k" * (MAX_KNOWN_KEY + 1)
    assert remembering.choose_again(long) == remembering.choose_again(long) == remembering.choose(long)
    assert remembering._known == {}
    several = [canary(70, 30) for _ in range(8)]
    for key in KEYS:
        for one in several:
            one.choose_again(key)
            assert one._known[key] == one.choose(key)
    assert 0 < sum(len(one._known) for one in several) <= MAX_KNOWN
