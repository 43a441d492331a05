"""The board's memory, as other processes see it."""

from __future__ import annotations

import subprocess
import sys

from extproc.picking.board_layout import PICKED, size
from extproc.serve.shared_board import SharedBoard
from tests.unit.picking.boards import A, B, wanted

_CLAIMS = """
import sys
from extproc.picking.board import Wanted
from extproc.serve.shared_board import SharedBoard
shared = SharedBoard(3, int(sys.argv[1]))
for turn in range(50):
    found = shared.board.claim(int(sys.argv[2]), {f"{sys.argv[2]}-{turn}:{n}": Wanted() for n in range(8)})
    assert len(set(found.values())) == 8
shared.board.counts[int(sys.argv[2]), 0, 1] = 7
"""
_HOLDS = """
import sys
from extproc.serve.shared_board import _Lock
with _Lock(int(sys.argv[1])):
    print(1, flush=True)
    sys.stdin.read()
"""


def test_processes_share_it_and_claim_one_after_the_other() -> None:
    shared = SharedBoard(3)
    assert shared.generation == 0
    children = [
        subprocess.Popen([sys.executable, "-c", _CLAIMS, str(shared.fd), str(worker)], pass_fds=[shared.fd])
        for worker in (1, 2)
    ]
    for turn in range(50):
        shared.board.claim(0, wanted(A, f"{turn}:1"))
    assert [child.wait() for child in children] == [0, 0]
    slots = shared.board.slots()
    assert len({slot.number for slot in slots}) == len({slot.address for slot in slots}) == 2 + 8 + 8
    assert shared.generation == 150
    assert shared.board.counts[:, PICKED, 1].tolist() == [0, 7, 7]


def test_a_process_that_is_killed_lets_the_lock_go() -> None:
    shared = SharedBoard(3)
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDS, str(shared.fd)],
        pass_fds=[shared.fd],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"1\n"
        child.kill()
    assert shared.board.claim(0, wanted(A, B)).keys() == {A, B}


def test_memory_is_taken_as_it_is_used() -> None:
    assert size(64) < 32 << 20
