"""The board: who has which slot, and that nobody reads half of a report."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from extproc.picking.board import Board, Page, Wanted
from extproc.picking.board_layout import NOBODY, PICKED, SLOTS, WAITING, size
from extproc.policy.metrics_page import PageLoad
from tests.unit.picking.boards import PAGE, A, B, C, board, memory, report, slot_of, wanted


def test_processes_agree_on_slots() -> None:
    shared = memory()
    first, second = board(shared), board(shared)
    mine, theirs = first.claim(0, wanted(A, B)), second.claim(1, wanted(B, C))
    assert mine[B] == theirs[B]
    assert len({NOBODY, *mine.values(), *theirs.values()}) == 4
    assert [(slot.address, slot.wanted) for slot in first.slots()] == [(each, Wanted(PAGE, 60.0)) for each in (A, B, C)]
    generation = first.generation
    second.claim(1, wanted(C, timeout=5))
    assert first.generation > generation
    assert {slot.address: slot.wanted.timeout for slot in first.slots()} == {A: 60, B: 60, C: 5}


def test_a_slot_passes_on_empty_once_nobody_wants_it() -> None:
    shared = board()
    before = shared.claim(0, wanted(A))[A]
    shared.claim(1, wanted(A))
    shared.counts[0, PICKED, before] = 3
    former = slot_of(shared, A)
    shared.claim(0, wanted(B))
    assert shared.claim(0, wanted(B, C))[C] != before  # worker 1 wants A yet
    shared.claim(1, {})
    assert [slot.address for slot in shared.slots()] == [B, C]
    found = shared.claim(1, wanted(*(f"x:{port}" for port in range(SLOTS - 3))))
    assert list(found.values())[-1] == before  # those that nobody had come first
    assert not shared.picked().any()
    shared.report({former: (PageLoad(9.0), 1.0, 0.0)})  # a collector that does not know yet
    assert np.isnan(shared.reports[WAITING, before])


def test_a_worker_that_is_killed_while_it_writes_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = memory()
    killed, other = board(shared), board(shared)
    killed.claim(0, wanted(A, B))
    record, copied = killed._records[slot_of(other, A).number], np.frombuffer

    def copy_and_die(text: bytes, kind: type[np.uint8]) -> NDArray[np.uint8]:
        record[2 : 2 + len(text)] = copied(text, kind)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(np, "frombuffer", copy_and_die)
        with pytest.raises(KeyboardInterrupt):
            killed.claim(0, {A: Wanted(Page("vllm", f"{PAGE.url}/of/engines", 0.1)), B: Wanted(PAGE, 60.0)})
    assert [slot.address for slot in other.slots()] == [B]
    assert set(other.claim(1, wanted(A, B))) == {A, B}


def test_there_is_room_for_so_many() -> None:
    shared = board()
    found = shared.claim(0, wanted(*(f"a:{port}" for port in range(SLOTS))))
    assert len(found) == SLOTS - 1 == len(set(found.values()))
    assert shared.claim(1, wanted("b:1", "a:0")) == {"a:0": found["a:0"]}
    shared.claim(0, {})
    assert "b:1" in shared.claim(1, wanted("b:1"))


@pytest.mark.parametrize(
    ("address", "url", "known", "page"), [("a:1", "u" * 1100, True, False), ("a" * 1100, "u", False, False)]
)
def test_what_does_not_fit_is_left_out(address: str, url: str, known: bool, page: bool) -> None:
    shared = board()
    found = shared.claim(0, {address: Wanted(Page("vllm", url, 0.1), 1.0), B: Wanted()})
    assert (address in found, B in found) == (known, True)
    assert [bool(slot.wanted.page) for slot in shared.slots() if slot.address == address] == [page] * known


def test_adapters_are_told_as_far_as_they_fit() -> None:
    shared = board()
    place = shared.claim(0, wanted(A))[A]
    report(shared, A, PageLoad(adapters=frozenset({"b", "a"}), loading=frozenset({"ä"})), 1.0)
    assert shared.adapters(place) == {"a", "b", "ä"}
    report(
        shared,
        A,
        PageLoad(adapters=frozenset(f"{n}" * 200 for n in range(9)) | {"a" * 200} | {"b" * 200, "c" * 200}),
        2.0,
    )
    assert len(shared.adapters(place)) == 10
    report(shared, A, PageLoad(), 3.0)
    assert shared.adapters(place) == frozenset()


def test_readers_look_again_while_reports_come_and_not_for_ever() -> None:
    shared = board()
    shared.claim(0, wanted(A))
    looks = 0
    for _ in shared.consistent():
        looks += 1
        if looks == 1:
            report(shared, A, PageLoad(1.0), 1.0)
    assert looks == 2
    shared._header[0] += 1  # the collector is killed while it writes
    assert 2 < sum(1 for _ in shared.consistent()) < 1000
    shared.begin_reports()
    assert sum(1 for _ in shared.consistent()) == 1
    shared.begin_reports()
    assert sum(1 for _ in shared.consistent()) == 1


def test_the_memory_is_as_large_as_is_said() -> None:
    for workers in (1, 2, 7):
        Board(memory(workers), workers, board()._lock)
        with pytest.raises(ValueError, match="buffer"):
            Board(memory(workers)[: size(workers) - 1024], workers, board()._lock)


CLAIMS = st.lists(
    st.tuples(st.integers(0, 2), st.frozensets(st.sampled_from([f"h{n}:1" for n in range(6)]))), max_size=30
)


@given(CLAIMS)
def test_slots_are_what_claims_make_of_them(claims: list[tuple[int, frozenset[str]]]) -> None:
    """An address that somebody wants keeps its slot, and no two have the same."""
    shared, held, slots = board(workers=3), dict[int, frozenset[str]](), dict[str, int]()
    for worker, addresses in claims:
        found = shared.claim(worker, wanted(*addresses))
        before = frozenset[str]().union(*held.values())
        held[worker] = addresses
        assert found.keys() == addresses
        assert all(slots[each] == place for each, place in found.items() if each in before)
        slots |= found
        here = frozenset[str]().union(*held.values())
        assert {slot.address: slot.number for slot in shared.slots()} == {each: slots[each] for each in here}
        assert len({slots[each] for each in here}) == len(here)
