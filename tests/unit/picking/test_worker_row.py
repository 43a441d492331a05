"""What workers count on the board, and what they read there."""

from __future__ import annotations

from math import inf, isnan

import numpy as np

from extproc.picking.board import GpuSource, Wanted
from extproc.picking.board_layout import GPU, SLOTS
from extproc.picking.endpoint_state import EndpointState
from extproc.picking.loads import STALE_AFTER
from extproc.picking.worker_row import READING_INTERVAL
from extproc.policy.metrics_page import PageLoad
from tests.unit.picking.boards import PAGE, A, B, C, Row, board, memory, report, slot_of, wanted

LOAD = PageLoad(2.0, 5.0, 0.5, 0.9, 16.0, frozenset({"sql"}), frozenset({"law"}))


def test_workers_read_what_all_of_them_have_sent() -> None:
    shared = memory()
    first, second = (Row(board(shared), number) for number in range(2))
    for row in (first, second):
        row.want(wanted(A, B))
    for _ in range(3):
        first.begin(A)
    second.begin(B)
    second.end(A)  # Envoy tells any worker
    for row in (first, second):
        assert row.loads_at(0.0, B, A, C).in_flight.tolist() == [1, 2, 0]
    first.begin(C)  # nobody wants it
    assert second.loads_at(0.0, C).in_flight.tolist() == [0]


def test_a_worker_that_restarts_takes_its_row_over() -> None:
    shared = memory()
    row = Row(board(shared), 1)
    row.want(wanted(A))
    row.begin(A)
    row.begin(A)
    row = Row(board(shared), 1)
    row.want(wanted(A))
    row.end(A)
    row.begin(A)
    assert row.loads_at(0.0, A).in_flight.tolist() == [2]


def test_reports_are_read_in_the_order_of_the_target() -> None:
    shared = board()
    row = Row(shared, 0)
    row.want(wanted(A, B) | {C: Wanted()})
    nothing = row.loads_at(5.0, A)
    assert np.isnan(nothing.table[:5]).all()
    assert nothing.age.tolist() == [inf]
    assert nothing.adapters == ()
    row.begin(A)
    report(shared, A, LOAD, at=3.0, picked=1.0)
    row.begin(A)
    row.begin(B)
    found = row.loads_at(5.0, B, A, C)
    assert found.table[:6, 1].tolist() == [2.0, 5.0, 0.5, 16.0, 0.9, 2.0]
    assert isnan(found.waiting[0])
    assert found.in_flight.tolist() == [1, 2, 0]
    assert found.sent_since.tolist() == [1, 1, 0]
    assert found.adapters == (frozenset(), frozenset({"sql", "law"}), frozenset())
    row.end(A)
    row.end(A)
    assert row.loads_at(5.0, A).sent_since.tolist() == [0]
    report(shared, A, PageLoad(0.0), at=6.0, picked=2.0)
    found = row.loads_at(6.0, B, A, C)
    assert found.table[:, 1].tolist()[0] == 0.0
    assert isnan(found.running[1])
    assert found.adapters == (frozenset(),) * 3


def test_more_ends_than_picks_are_no_load() -> None:
    row = Row(board(), 0)
    row.want(wanted(A))
    row.end(A)
    assert row.loads_at(0.0, A).in_flight.tolist() == [0]


def test_endpoints_that_move_are_found_where_they_are() -> None:
    shared = board()
    row = Row(shared, 0)
    row.want(wanted(A, B))
    row.begin(A)
    row.begin(B)
    assert row.loads_at(0.0, A, B).in_flight.tolist() == [1, 1]
    row.want(wanted(B, C))
    assert row.loads_at(0.0, A, B).in_flight.tolist() == [0, 1]
    row.want(wanted(A, B, C))
    assert row.loads_at(0.0, A, B).in_flight.tolist() == [1, 1]  # the slot was nobody else's meanwhile


def test_people_see_what_is_known() -> None:
    shared = board()
    row = Row(shared, 0)
    row.want({A: Wanted(PAGE), B: Wanted()})
    row.begin(A)
    report(shared, A, LOAD, at=1.0)
    assert row.described_at(2.0, A, B) == [
        EndpointState(A, 2.0, 5.0, 0.5, 0.9, 1.0, 1.0, 1.0, ["law", "sql"]),
        EndpointState(B, None, None, None, None, None, 0.0, 0.0, []),
    ]
    late = row.described_at(1.0 + STALE_AFTER + 0.1, A)[0]
    assert (late.waiting, late.cache, late.in_flight) == (None, None, 1.0)


def test_a_reading_is_good_for_a_while_and_until_the_endpoints_change() -> None:
    shared, endpoints = board(), (A, B)
    row = Row(shared)
    row.want(wanted(A, B))
    reading = row.loads(endpoints)
    row.begin(A)
    row.now = READING_INTERVAL / 2
    assert row.loads(endpoints) is reading
    row.now = READING_INTERVAL
    assert row.loads(endpoints).in_flight.tolist() == [1, 0]
    assert row.loads(endpoints) is row.loads(endpoints)
    row.want(wanted(B))
    assert row.loads(endpoints).in_flight.tolist() == [0, 0]
    kept = row.loads(endpoints)
    row.follow()
    assert row.loads(endpoints) is not kept


def test_what_exporters_tell_of_gpus_counts_for_longer() -> None:
    shared = board()
    row = Row(shared)
    row.want({A: Wanted(PAGE, gpus=GpuSource("http://n:9400/metrics", "ai/a")), B: Wanted(PAGE)})
    report(shared, A, LOAD, 1.0)
    report(shared, B, LOAD, 1.0)
    assert [each.gpu for each in row.described_at(1.0, A, B)] == [None, 0.9], "what A's own page says does not count"
    shared.report({}, {slot_of(shared, A): (0.4, 21.0)})
    assert [each.gpu for each in row.described_at(1.0, A, B)] == [0.4, 0.9]
    later = row.described_at(20.9, A, B)
    assert [(each.waiting, each.gpu) for each in later] == [(None, 0.4), (None, None)]
    assert [each.gpu for each in row.described_at(21.1, A, B)] == [None, None]


def test_what_is_told_of_the_gpus_of_a_former_endpoint_is_nobody_s() -> None:
    shared = board()
    row = Row(shared)
    row.want({A: Wanted(gpus=GpuSource("http://n:9400/metrics"))})
    former = slot_of(shared, A)
    row.want({})
    row.want({f"x:{port}": Wanted() for port in range(1, SLOTS)})
    shared.report({}, {former: (0.4, 21.0)})
    assert row.described_at(1.0, "x:1")[0].gpu is None
    assert np.isnan(shared.reports[GPU]).all()
