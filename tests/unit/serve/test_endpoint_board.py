"""What a process knows of endpoints: nothing before a policy picks, and then what all workers know."""

from __future__ import annotations

import subprocess
import sys

import pytest

from extproc.policy.picking import EndpointPages, Picking
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.serve.endpoint_board import EndpointBoard
from extproc.serve.options import ServeOptions
from extproc.serve.shared_board import SharedBoard
from tests.house.tree import ROOT
from tests.unit.picking.boards import A, B, C

PICKED = Policy("p", host="p", versions=(Version("v", endpoints=(A, B), grpc_endpoints=(C,)),), picking=Picking())


def test_without_picks_there_is_no_board(monkeypatch: pytest.MonkeyPatch) -> None:
    board = EndpointBoard(ServeOptions())
    monkeypatch.delattr(SharedBoard, "board")
    board.follow(Snapshot((Policy("p", host="p"),)))
    assert board.endpoints() == {}
    assert board.collector() is None


def test_the_first_request_need_not_wait_for_what_picks() -> None:
    """In a process of its own: this one has loaded everything for other tests."""
    text = (
        "import sys; from tests.unit.serve.test_endpoint_board import *;"
        "before = 'extproc.exchange.picks' in sys.modules;"
        "EndpointBoard(ServeOptions()).follow(Snapshot((PICKED,)));"
        "print(before, 'extproc.exchange.picks' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["False", "True"]


def test_workers_see_each_other_s_requests_and_the_first_tells() -> None:
    shared = SharedBoard(2)
    boards = [
        EndpointBoard(ServeOptions(supervised=True, siblings=2, board=shared.fd, board_row=number)) for number in (0, 1)
    ]
    for board in boards:
        board.follow(Snapshot((PICKED,)))
    boards[1].row.begin(A)
    boards[0].row.begin(C)
    ((target, states),) = boards[0].endpoints().items()
    assert target == ("p", "v", "")
    assert [(state.endpoint, state.in_flight, state.picks) for state in states] == [(A, 1, 1), (B, 0, 0), (C, 1, 1)]
    assert boards[0].gauges() == (boards[0].endpoints(), None, [])
    assert boards[1].endpoints() == {}
    assert boards[0].collector() is None
    assert {slot.address for slot in shared.board.slots()} == {A, B, C}


def test_a_reload_changes_what_is_wanted() -> None:
    board = EndpointBoard(ServeOptions())
    board.follow(Snapshot((PICKED,)))
    row = board.row
    row.begin(A)
    board.follow(Snapshot((Policy("q", host="10.1.1.1", port=1, picking=Picking(metrics=EndpointPages("tgi"))),)))
    assert board.row is row
    assert [slot.address for slot in board._shared.board.slots()] == ["10.1.1.1:1"]
    assert list(board.endpoints()) == [("q", "", "")]
    board.follow(Snapshot((Policy("q", host="q"),)))
    assert board._shared.board.slots() == []
    assert board.endpoints() == {}
