"""The size of a board: all that stands on it, and no numpy to know it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from extproc.picking.board import Board
from extproc.picking.board_layout import ADAPTERS, RECORD, SLOTS, size
from tests.unit.picking.boards import board


@pytest.mark.parametrize("workers", [1, 3, 64])
def test_the_last_part_ends_within_it(workers: int) -> None:
    memory = memoryview(bytearray(size(workers)))
    shared = Board(memory, workers, board()._lock)
    shared._adapters[:] = 255
    assert memory[-16 * 64 :].tobytes().count(255)  # it ends near the end
    assert not shared._records.any()
    assert not shared.counts.any()
    assert shared._adapters.nbytes + shared._records.nbytes == SLOTS * (ADAPTERS + RECORD)


def test_who_makes_it_needs_no_numpy() -> None:
    code = (
        "import sys; from extproc.serve.shared_board import SharedBoard; SharedBoard(2); print('numpy' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"
