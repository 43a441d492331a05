"""Which endpoint is picked."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.picking.candidates import NOT_HINTED, NOT_READY, SATURATED, Candidates, Pick, Refusal, Request
from extproc.picking.loads import EndpointLoads, unknown, unknown_table
from extproc.picking.picker import FALLBACKS, Picker
from extproc.picking.prompt import Prompt, prompt_of
from extproc.picking.standing import NEARLY
from extproc.policy.picking import LEAST_LOADED, PREFIX, RANDOM_TWO, ROUND_ROBIN, SESSION, STRATEGIES, Picking
from extproc.policy.session_tag import server_of
from extproc.policy.target import Target

ADDRESSES = tuple(f"10.0.0.{number}:80" for number in range(1, 6))
FIVE = Candidates(ADDRESSES)


def lot(number: int) -> bytes:
    """Eight bytes, another for each number."""
    return hashlib.sha256(str(number).encode()).digest()[:8]


def loads(running: list[float], **rows: list[float]) -> EndpointLoads:
    found = EndpointLoads(unknown_table(len(running)))
    found.age[:], found.waiting[:], found.running[:] = 0.1, 0, running
    for name, row in rows.items():
        getattr(found, name)[:] = row
    return found


def picked(picker: Picker, found: EndpointLoads, request: Request, number: int = 0, of: Candidates = FIVE) -> Pick:
    pick = picker.pick(of, found, request, lot(number))
    assert isinstance(pick, Pick)
    return pick


def prompt(text: str) -> Prompt:
    return prompt_of(text.encode(), 16)


@pytest.fixture
def by_prefix() -> Picker:
    """Blocks of 16 bytes."""
    return Picker("chat/v1", Picking(by=PREFIX, block_bytes=16))


def test_the_least_loaded_gets_it_and_the_next_ones_are_told() -> None:
    pick = picked(Picker("chat", Picking(by=LEAST_LOADED)), loads([4, 1, 3, 0, 2]), Request())
    assert (pick.endpoint, pick.fallbacks) == (ADDRESSES[3], (ADDRESSES[1], ADDRESSES[4]))


def test_what_was_sent_counts_before_the_next_reading() -> None:
    picker, found = Picker("chat", Picking(by=LEAST_LOADED)), loads([2, 0, 2, 2, 2])
    for _ in range(2):
        assert picked(picker, found, Request()).endpoint == ADDRESSES[1]
        picker.sent(ADDRESSES[1], Prompt(), 0)
    assert {picked(picker, found, Request(), number).endpoint for number in range(40)} == set(ADDRESSES)


def test_the_endpoint_with_the_prefix_gets_it(by_prefix: Picker) -> None:
    begun, longer = prompt("a" * 160), prompt("a" * 160 + "b" * 32)
    by_prefix.pick(FIVE, loads([0] * 5), Request(begun), lot(1))
    by_prefix.sent(ADDRESSES[2], begun, 0)
    pick = picked(by_prefix, loads([1] * 5), Request(longer))
    assert (pick.endpoint, pick.matched) == (ADDRESSES[2], 160)


@pytest.mark.parametrize(("running", "place"), [(2, 2), (20, 0)])
def test_a_prefix_is_worth_so_much_load(by_prefix: Picker, running: float, place: int) -> None:
    """192 bytes to read, or 32 and 16 at the end: four times as much load outweighs that, twice as much does not."""
    by_prefix.pick(FIVE, loads([0] * 5), Request(), lot(1))
    by_prefix.sent(ADDRESSES[2], prompt("a" * 160), 160)
    found = loads([1, 9, running, 9, 9])
    assert picked(by_prefix, found, Request(prompt("a" * 160 + "b" * 32))).endpoint == ADDRESSES[place]


def test_prompts_that_wait_to_be_read_count(by_prefix: Picker) -> None:
    found = loads([3] * 5, waiting=[0, 2, 2, 2, 2])
    found.running[:] -= found.waiting
    assert picked(by_prefix, found, Request(prompt("x" * 64))).endpoint == ADDRESSES[0]
    by_prefix.sent(ADDRESSES[0], prompt("x" * 64), 0)
    by_prefix.sent(ADDRESSES[0], prompt("y" * 6400), 0)
    assert picked(by_prefix, found, Request(prompt("x" * 64))).endpoint != ADDRESSES[0]


def test_processes_expect_a_new_prompt_at_the_same_endpoint() -> None:
    pickers = [Picker("chat", Picking()) for _ in range(3)]
    homes: Counter[str] = Counter()
    for number in range(100):
        text = f"{number} " + "a" * 4096
        begun = {
            picked(p, loads([5] * 5), Request(prompt_of(text.encode(), 256)), n).endpoint for n, p in enumerate(pickers)
        }
        assert len(begun) == 1
        homes.update(begun)
        longer = prompt_of((text + "b" * 900).encode(), 256)
        assert {picked(pickers[0], loads([5] * 5), Request(longer)).endpoint} == begun
    assert len(homes) == 5
    fewer = Candidates(ADDRESSES[1:])
    moved = 0
    for number in range(100):
        request = Request(prompt_of((f"{number} " + "a" * 4096).encode(), 256))
        before = picked(pickers[1], loads([5] * 5), request).endpoint
        moved += picked(pickers[0], loads([5] * 4), request, of=fewer).endpoint != before
    assert moved == homes[ADDRESSES[0]]


def test_a_long_prompt_counts_until_it_can_be_read(by_prefix: Picker) -> None:
    """Its report says that it runs, and not that it is read. 80 KB are read in a second."""
    long = prompt("x" * 40_000)
    for at, place in ((10.0, 0), (10.1, 1), (10.6, 0)):
        reading = EndpointLoads(loads([0, 1, 9, 9, 9]).table, (), at)
        assert picked(by_prefix, reading, Request(prompt("y" * 64))).endpoint == ADDRESSES[place], at
        if at == 10.0:
            by_prefix.sent(ADDRESSES[0], long, 0)


def test_equal_ones_are_drawn_evenly(by_prefix: Picker) -> None:
    for picker in (by_prefix, Picker("chat", Picking(by=LEAST_LOADED)), Picker("chat", Picking(by=RANDOM_TWO))):
        found = loads([1, 1, 7, 1, 1]) if picker.spec.by != RANDOM_TWO else loads([1] * 5)
        drawn = Counter(picked(picker, found, Request(), number).endpoint for number in range(4000))
        expected = 1000 if picker.spec.by != RANDOM_TWO else 800
        # Five standard deviations of a binomial distribution.
        assert all(abs(count - expected) < 5 * expected**0.5 for count in drawn.values()), drawn
        assert len(drawn) == 4000 / expected


def test_each_in_turn() -> None:
    picker = Picker("chat", Picking(by=ROUND_ROBIN))
    order = [picked(picker, unknown(5), Request(), n) for n in range(6)]
    assert [pick.endpoint for pick in order] == [*ADDRESSES, ADDRESSES[0]]
    assert order[3].fallbacks == (ADDRESSES[4], ADDRESSES[0])
    some = Candidates(ADDRESSES, b"\0\1\0\1\0")
    turns = [picked(picker, unknown(5), Request(), of=some).endpoint for _ in range(3)]
    assert turns == [ADDRESSES[1], ADDRESSES[3], ADDRESSES[1]]


def test_a_session_stays_where_what_it_keeps_is_and_moves_only_from_who_is_gone() -> None:
    target = Target("chat", "v1", "", ADDRESSES)
    picker = Picker(target.cluster, Picking(by=SESSION))
    for user in range(50):
        key = b"user-%d" % user
        home = picked(picker, unknown(5), Request(key=key))
        assert home.endpoint == server_of(target, key)
        ready = bytes(address != home.endpoint for address in ADDRESSES)
        assert (
            picked(picker, unknown(5), Request(key=key), of=Candidates(ADDRESSES, ready)).endpoint == home.fallbacks[0]
        )


def test_a_session_finds_the_last_endpoint_that_is_left() -> None:
    addresses = tuple(f"10.0.{number >> 8}.{number & 255}:80" for number in range(30))
    picker = Picker("chat", Picking(by=SESSION))
    for place in range(30):
        one = Candidates(addresses, bytes(number == place for number in range(30)))
        assert picked(picker, unknown(30), Request(key=b"u"), of=one).endpoint == addresses[place]


def test_without_a_key_a_session_goes_to_the_least_loaded() -> None:
    assert picked(Picker("chat", Picking(by=SESSION)), loads([1, 0, 1, 1, 1]), Request()).endpoint == ADDRESSES[1]


@pytest.mark.parametrize("by", STRATEGIES)
def test_without_an_endpoint_it_is_refused(by: str) -> None:
    picker = Picker("chat", Picking(by=by))
    request = Request(key=b"u")
    none = picker.pick(Candidates(ADDRESSES, bytes(5)), unknown(5), request, lot(0))
    assert none == Refusal(503, NOT_READY)
    assert picker.pick(Candidates(()), unknown(0), request, lot(0)) == Refusal(503, NOT_READY)
    for hinted in (bytes(5), b"\1\0\0\0\0"):
        missed = Request(key=b"u", hinted=hinted)
        assert picker.pick(Candidates(ADDRESSES, b"\0\1\1\1\1"), unknown(5), missed, lot(0)) == Refusal(503, NOT_HINTED)


def test_what_can_wait_is_refused_as_well() -> None:
    picker, full = Picker("chat", Picking("least-loaded")), loads([8] * 5, waiting=[9] * 5)
    assert picker.pick(FIVE, full, Request(waits=True), lot(0)) == Refusal(429, SATURATED, 1)
    assert isinstance(picker.pick(FIVE, loads([8] * 5, waiting=[9, 9, 9, 9, 0]), Request(waits=True), lot(0)), Pick)


def test_what_may_be_dropped_is_refused_while_all_are_saturated() -> None:
    picker, full = Picker("chat", Picking()), loads([8] * 5, waiting=[6] * 5)
    assert picker.pick(FIVE, full, Request(priority=-1), lot(0)) == Refusal(429, SATURATED, 1)
    assert picked(picker, full, Request()).endpoint in ADDRESSES
    one_free = loads([8] * 5, waiting=[6, 6, 6, 6, 5])
    assert picked(picker, one_free, Request(priority=-1)).endpoint in ADDRESSES
    others = Request(priority=-1, hinted=b"\1\1\1\1\0")
    assert picker.pick(FIVE, one_free, others, lot(0)) == Refusal(429, SATURATED, 1)


def test_the_adapter_draws_its_requests(by_prefix: Picker) -> None:
    found = loads([1, 1, 2, 1, 1])
    some = EndpointLoads(found.table, tuple(frozenset(("sql",) if n == 2 else ()) for n in range(5)))
    assert picked(by_prefix, some, Request(adapter="sql")).endpoint == ADDRESSES[2]
    assert picked(by_prefix, some, Request(adapter="base")).endpoint != ADDRESSES[2]


def test_others_may_come_and_go(by_prefix: Picker) -> None:
    by_prefix.pick(FIVE, unknown(5), Request(), lot(0))
    for address in ADDRESSES:
        by_prefix.sent(address, prompt("a" * 160), 0)
    fewer = Candidates(ADDRESSES[3:])
    pick = picked(by_prefix, loads([0, 1]), Request(prompt("a" * 160)), of=fewer)
    assert (pick.endpoint, pick.matched, pick.fallbacks) == (ADDRESSES[3], 160, (ADDRESSES[4],))
    by_prefix.sent(ADDRESSES[0], prompt("b" * 160), 0)
    assert picked(by_prefix, loads([0] * 5), Request(prompt("b" * 160))).matched == 0


def test_it_is_explained(by_prefix: Picker) -> None:
    some = Candidates(ADDRESSES, b"\0\1\1\1\1")
    by_prefix.pick(some, loads([0] * 5), Request(), lot(0))
    by_prefix.sent(ADDRESSES[3], prompt("a" * 160), 160)
    found = loads([3] * 5, waiting=[0, 0, 0, 0, 9], age=[0, 0, 9, 0, 0])
    request = Request(prompt("a" * 176), hinted=b"\1\0\1\1\1")
    rows = by_prefix.explain(some, found, request)
    assert [row.why_not for row in rows] == [NOT_READY, NOT_HINTED, "", "", ""]
    assert [row.matched for row in rows] == [0, 0, 0, 160, 0]
    assert [row.known for row in rows] == [True, True, False, True, True]
    assert [row.batch for row in rows] == [3, 3, 6, 3, 12]
    assert [row.saturated for row in rows] == [False, False, False, False, True]
    assert rows[3].score == (16 + 16) * 4
    assert [row.score is None for row in rows] == [True, True, False, False, False]
    best = min((row.score, row.endpoint) for row in rows if row.score is not None)
    assert best[1] == picked(by_prefix, found, request, of=some).endpoint == ADDRESSES[3]


FLAGS = st.binary(min_size=5, max_size=5).map(lambda raw: bytes(byte & 1 for byte in raw))
LOADS = st.lists(st.tuples(*[st.sampled_from([0, 1, 2, 3, 9, float("nan")])] * 3), min_size=5, max_size=5)


@given(
    st.sampled_from(STRATEGIES),
    FLAGS,
    st.one_of(st.just(b""), FLAGS),
    LOADS,
    st.lists(st.tuples(st.sampled_from(ADDRESSES), st.text("ab", max_size=80)), max_size=10),
    st.tuples(st.text("ab", max_size=80), st.sampled_from([b"", b"u"]), st.integers(-1, 1), st.integers(0, 1 << 32)),
)
def test_a_pick_keeps_every_rule(
    by: str,
    ready: bytes,
    hinted: bytes,
    numbers: list[tuple[float, float, float]],
    sent: list[tuple[str, str]],
    asked: tuple[str, bytes, int, int],
) -> None:
    text, key, priority, number = asked
    candidates, found = Candidates(ADDRESSES, ready), EndpointLoads(unknown_table(5))
    found.table[:3] = np.array(numbers).T
    found.age[:] = 0.1
    request = Request(prompt(text), key, "", priority, hinted)
    picks = []
    for _ in range(2):
        picker = Picker("chat", Picking(by=by, block_bytes=16))
        picker.pick(candidates, found, Request(), lot(1))
        for address, earlier in sent:
            picker.sent(address, prompt(earlier), 0)
        scores = {row.endpoint: row.score for row in picker.explain(candidates, found, request)}
        picks.append(picker.pick(candidates, found, request, lot(number)))
    assert picks[0] == picks[1]
    may = [a for place, a in enumerate(ADDRESSES) if ready[place] and (not hinted or hinted[place])]
    match picks[0]:
        case Refusal(status=503):
            assert not may
        case Refusal():
            assert may
            assert priority < 0
        case Pick(endpoint=endpoint, fallbacks=fallbacks, matched=matched):
            assert {endpoint, *fallbacks} <= set(may)
            assert len({endpoint, *fallbacks}) == 1 + len(fallbacks)
            assert len(fallbacks) == min(FALLBACKS if by != RANDOM_TWO else 1, len(may) - 1)
            assert matched <= len(text)
            if by in (PREFIX, LEAST_LOADED):
                assert (scores[endpoint] or 0) <= (1 + NEARLY) * min(s for s in scores.values() if s is not None)
