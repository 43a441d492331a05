"""What workers count on the board, and what they read there."""

from __future__ import annotations

from math import inf, isnan

import numpy as np

from extproc.picking.board import Wanted
from extproc.picking.loads import STALE_AFTER
from extproc.picking.worker_row import EndpointState, WorkerRow
from extproc.policy.metrics_page import PageLoad
from tests.unit.picking.boards import PAGE, A, B, C, board, memory, report, wanted

LOAD = PageLoad(2.0, 5.0, 0.5, 0.9, 16.0, frozenset({"sql"}), frozenset({"law"}))


def test_workers_read_what_all_of_them_have_sent() -> None:
    shared = memory()
    first, second = (WorkerRow(board(shared), number) for number in range(2))
    for row in (first, second):
        row.want(wanted(A, B))
    for _ in range(3):
        first.picked(A)
    second.picked(B)
    second.ended(A)  # Envoy tells any worker
    for row in (first, second):
        assert row.loads((B, A, C), 0.0).in_flight.tolist() == [1, 2, 0]
    first.picked(C)  # nobody wants it
    assert second.loads((C,), 0.0).in_flight.tolist() == [0]


def test_a_worker_that_restarts_takes_its_row_over() -> None:
    shared = memory()
    row = WorkerRow(board(shared), 1)
    row.want(wanted(A))
    row.picked(A)
    row.picked(A)
    row = WorkerRow(board(shared), 1)
    row.want(wanted(A))
    row.ended(A)
    row.picked(A)
    assert row.loads((A,), 0.0).in_flight.tolist() == [2]


def test_reports_are_read_in_the_order_of_the_target() -> None:
    shared = board()
    row = WorkerRow(shared, 0)
    row.want(wanted(A, B) | {C: Wanted()})
    nothing = row.loads((A,), 5.0)
    assert np.isnan(nothing.table[:5]).all()
    assert nothing.age.tolist() == [inf]
    assert nothing.adapters == ()
    row.picked(A)
    report(shared, A, LOAD, at=3.0, picked=1.0)
    row.picked(A)
    row.picked(B)
    found = row.loads((B, A, C), 5.0)
    assert found.table[:6, 1].tolist() == [2.0, 5.0, 0.5, 16.0, 0.9, 2.0]
    assert isnan(found.waiting[0])
    assert found.in_flight.tolist() == [1, 2, 0]
    assert found.sent_since.tolist() == [1, 1, 0]
    assert found.adapters == (frozenset(), {"sql", "law"}, frozenset())
    row.ended(A)
    row.ended(A)
    assert row.loads((A,), 5.0).sent_since.tolist() == [0]
    report(shared, A, PageLoad(0.0), at=6.0, picked=2.0)
    found = row.loads((B, A, C), 6.0)
    assert found.table[:, 1].tolist()[0] == 0.0
    assert isnan(found.running[1])
    assert found.adapters == (frozenset(),) * 3


def test_more_ends_than_picks_are_no_load() -> None:
    row = WorkerRow(board(), 0)
    row.want(wanted(A))
    row.ended(A)
    assert row.loads((A,), 0.0).in_flight.tolist() == [0]


def test_endpoints_that_move_are_found_where_they_are() -> None:
    shared = board()
    row = WorkerRow(shared, 0)
    row.want(wanted(A, B))
    row.picked(A)
    row.picked(B)
    assert row.loads((A, B), 0.0).in_flight.tolist() == [1, 1]
    row.want(wanted(B, C))
    assert row.loads((A, B), 0.0).in_flight.tolist() == [0, 1]
    row.want(wanted(A, B, C))
    assert row.loads((A, B), 0.0).in_flight.tolist() == [1, 1]  # the slot was nobody else's meanwhile


def test_people_see_what_is_known() -> None:
    shared = board()
    row = WorkerRow(shared, 0)
    row.want({A: Wanted(PAGE), B: Wanted()})
    row.picked(A)
    report(shared, A, LOAD, at=1.0)
    assert row.describe((A, B), 2.0) == [
        EndpointState(A, 2.0, 5.0, 0.5, 0.9, 1.0, 1.0, 1.0, ["law", "sql"]),
        EndpointState(B, None, None, None, None, None, 0.0, 0.0, []),
    ]
    late = row.describe((A,), 1.0 + STALE_AFTER + 0.1)[0]
    assert (late.waiting, late.cache, late.in_flight) == (None, None, 1.0)
