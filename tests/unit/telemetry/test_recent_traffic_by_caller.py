"""The last minutes: what is in a window and what no longer is, how several become one, and that it stays small."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from extproc.exchange.notes import Observed, RequestAccount
from extproc.policy.snapshot import OTHER
from extproc.telemetry.golden_metrics import Counts
from extproc.telemetry.recent_traffic_by_caller import (
    MAX_ROWS,
    MAX_SLICES,
    MAX_WINDOW,
    SLICE_SECONDS,
    UNKNOWN_CALLER,
    RecentTraffic,
    TrafficReport,
    group_rows,
    limit_callers,
    merge_reports,
)

START = 1_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


def observed(caller: str = "", version: str = "v1", seconds: float = 0.1) -> Observed:
    return Observed("llama", version, "west", "openai", "200", seconds, caller=caller)


def requests(report: TrafficReport, seconds: float, end: int | None = None) -> int:
    return sum(counts.requests for counts in report.window(seconds, end).rows.values())


def test_a_window_forgets() -> None:
    clock = Clock()
    recent = RecentTraffic(clock)
    for _ in range(3):
        recent.note(observed())
    clock.now += 30
    recent.note(observed())
    assert requests(recent.report(), 60) == 4
    assert requests(recent.report(), 25) == 1
    clock.now += 40
    assert requests(recent.report(), 60) == 1
    assert requests(recent.report(), MAX_WINDOW) == 4
    clock.now += MAX_WINDOW
    assert recent.report().slices == []


def test_seconds_are_those_that_it_covers() -> None:
    clock = Clock()
    recent = RecentTraffic(clock)
    assert recent.report().window(60).seconds == 1.0, "not less: a rate of the first millisecond says nothing"
    clock.now += 7
    assert recent.report().window(60).seconds == 7.0
    clock.now += 93
    assert recent.report().window(60).seconds == 60.0, "whole slices, and the one that has just begun"
    clock.now += 4
    assert recent.report().window(60).seconds == 64.0
    assert recent.report().window(5).seconds == 9.0, "never less than what was wanted"
    clock.now += 2 * MAX_WINDOW
    assert recent.report().window(MAX_WINDOW).seconds == MAX_WINDOW - 1, "no more than is kept"
    assert recent.report().window(10, int(START // SLICE_SECONDS) + 3).seconds == 10.0


def test_a_window_of_the_past() -> None:
    clock = Clock()
    recent = RecentTraffic(clock)
    for _ in range(10):
        recent.note(observed())
        clock.now += SLICE_SECONDS
    first = int(START // SLICE_SECONDS)
    assert [requests(recent.report(), 3 * SLICE_SECONDS, first + n) for n in (0, 1, 2, 3, 9, 10, 12)] == [
        1,
        2,
        3,
        3,
        3,
        2,
        0,
    ]


def test_a_clock_that_is_set_back() -> None:
    clock = Clock()
    recent = RecentTraffic(clock)
    recent.note(observed())
    clock.now -= 100
    recent.note(observed())
    assert requests(recent.report(), 60) == 2
    assert recent.report().window(60).seconds >= 1


def test_callers_and_who_has_no_name() -> None:
    recent = RecentTraffic(Clock())
    for caller in ("a", "a", "", "b"):
        recent.note(observed(caller))
    rows = recent.report().window(60).rows
    assert {key[0]: counts.requests for key, counts in rows.items()} == {"a": 2, UNKNOWN_CALLER: 1, "b": 1}


def test_it_stays_small_whatever_comes() -> None:
    clock = Clock()
    recent = RecentTraffic(clock)
    for _ in range(MAX_SLICES + 5):
        for n in range(MAX_ROWS + 100):
            recent.note(observed(f"caller-{n}-{clock.now}"))
        clock.now += SLICE_SECONDS
    report = recent.report()
    assert len(report.slices) <= MAX_SLICES
    assert all(len(one.rows) <= MAX_ROWS + 1 for one in report.slices)
    rows = report.window(SLICE_SECONDS).rows
    assert rows[OTHER, "llama", "v1", "west"].requests == 100
    assert sum(counts.requests for counts in rows.values()) == MAX_ROWS + 100


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("abc"), st.integers(0, 40)), max_size=40))
def test_several_processes_are_one(said: list[tuple[int, str, int]]) -> None:
    clock = Clock()
    alone, parts = RecentTraffic(clock), [RecentTraffic(clock) for _ in range(3)]
    for process, caller, later in said:
        clock.now += later
        alone.note(observed(caller))
        parts[process].note(observed(caller))
    wire = [msgspec.json.decode(msgspec.json.encode(part.report()), type=TrafficReport) for part in parts]
    for seconds in (SLICE_SECONDS, 60, MAX_WINDOW):
        assert merge_reports(wire).window(seconds) == alone.report().window(seconds)


def test_nobody_together_is_nothing() -> None:
    assert merge_reports([]).window(60).rows == {}


def test_those_who_ask_most_have_names() -> None:
    rows = {}
    for n in range(30):
        for version in ("v1", "v2"):
            rows[f"c{n:02}", "llama", version, "west"] = Counts(requests=n)
    rows[OTHER, "llama", "v1", "west"] = Counts(requests=1000)
    found = limit_callers(rows, 3)
    assert list(dict.fromkeys(key[0] for key in found)) == ["c29", "c28", "c27", OTHER]
    assert sum(counts.requests for counts in found.values()) == sum(counts.requests for counts in rows.values())
    assert found[OTHER, "llama", "v1", "west"].requests == 1000 + sum(range(27))


def test_groups_add_up() -> None:
    rows = {("a", "m", "v1", "p"): Counts(requests=2), ("b", "m", "v1", "p"): Counts(requests=3)}
    assert {key: counts.requests for key, counts in group_rows(rows, lambda key: key[1:]).items()} == {
        ("m", "v1", "p"): 5
    }
    assert rows["a", "m", "v1", "p"].requests == 2, "the rows themselves stay as they were"


def test_accounts_count_with_what_was_observed() -> None:
    recent = RecentTraffic(Clock())
    recent.account(RequestAccount("llama", "v1", "west", "openai", "200", 0.1, caller="ann"))
    recent.note(Observed("llama", "v1", "west", "openai", "200", 0.1, caller="ann", output_tokens=3, accounted=True))
    ((key, counts),) = recent.report().window(60).rows.items()
    assert key == ("ann", "llama", "v1", "west")
    assert (counts.requests, counts.output_tokens) == (1, 3)
