"""The keeper with a real collector: started where a page is wanted, and anew where it is killed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from extproc.picking.board import Page, Wanted
from extproc.picking.board_layout import BEAT, FAILURES, LOST, REPORTED_AT, WAITING
from extproc.serve import board_keeper, restart_backoff
from extproc.serve.board_keeper import BoardKeeper
from extproc.serve.child_process import ChildProcess
from extproc.serve.shared_board import SharedBoard
from tests.page_server import PageServer, page_of
from tests.waiting import until


@pytest.fixture
def shared() -> SharedBoard:
    return SharedBoard(1)


@pytest.fixture
def keeper(shared: SharedBoard, monkeypatch: pytest.MonkeyPatch) -> Iterator[BoardKeeper]:
    monkeypatch.setattr(board_keeper, "_INTERVAL", 0.01)
    monkeypatch.setattr(restart_backoff, "_MIN_WAIT", 0.01)
    keeper = BoardKeeper(shared)
    keeper.start()
    yield keeper
    keeper.stop()
    assert not keeper._thread.is_alive()
    assert keeper.collector is None or not keeper.collector.alive


def test_the_collector_runs_while_a_page_is_wanted_and_again_where_it_is_killed(
    shared: SharedBoard, keeper: BoardKeeper, caplog: pytest.LogCaptureFixture
) -> None:
    assert keeper.gauges() is None
    with PageServer(page_of) as server:
        place = shared.board.claim(0, {"a:1": Wanted(Page("vllm", server.url, 0.05)), "b:1": Wanted()})["a:1"]
        reports = shared.board.reports
        until(lambda: reports[WAITING, place] > 1)
        first = keeper.collector
        assert first is not None
        first.process.kill()
        first.process.wait()
        killed_at = reports[REPORTED_AT, place]
        until(lambda: reports[REPORTED_AT, place] > killed_at)
        assert "the collector ended with signal SIGKILL; starting it again" in caplog.text
        found = keeper.gauges()
        assert found is not None
        assert (found.pages, found.restarts, found.failed) == (1, 1, dict.fromkeys(FAILURES, 0.0))
        assert found.read > 1
        assert found.oldest < 60
        shared.board.claim(0, {"b:1": Wanted()})
        until(lambda: keeper.collector is None)
        until(lambda: not server._open)
        assert keeper.gauges() is None


def test_a_collector_that_hangs_is_killed(
    shared: SharedBoard, keeper: BoardKeeper, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeper, "_start", lambda _: None)
    shared.board.claim(0, {"a:1": Wanted(Page("vllm", "http://127.0.0.1:1", 0.05))})
    keeper.collector = ChildProcess("sleeper", ["sleep", "1000"])
    until(lambda: keeper.collector is None)  # it began before the machine did
    assert "the collector hangs" in caplog.text
    assert "ended with signal SIGKILL" in caplog.text


def test_a_collector_has_longer_until_its_first_sign_of_life(shared: SharedBoard) -> None:
    keeper = BoardKeeper(shared)
    keeper._started_at = 1000.0
    shared.board.numbers[BEAT] = 990.0  # of the one before it
    assert (keeper._hangs(1059.0), keeper._hangs(1061.0)) == (False, True)
    shared.board.numbers[BEAT] = 1020.0
    assert (keeper._hangs(1029.0), keeper._hangs(1031.0)) == (False, True)


def test_lost_ends_are_found_where_no_page_is_wanted(shared: SharedBoard, keeper: BoardKeeper) -> None:
    place = shared.board.claim(0, {"a:1": Wanted()})["a:1"]
    shared.board.counts[0, 1, place] = 5  # more ends than picks
    until(lambda: shared.board.losses[LOST, place] == -5)
    assert keeper.collector is None


def test_a_bug_is_logged_once_and_the_thread_goes_on(
    shared: SharedBoard, keeper: BoardKeeper, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks = []

    def fails(now: float) -> None:
        looks.append(now)
        raise RuntimeError("planted")

    monkeypatch.setattr(keeper, "_keep_collector", fails)
    shared.board.claim(0, {"a:1": Wanted()})
    until(lambda: len(looks) > 3)
    assert caplog.text.count("after an error of ours") == 1
