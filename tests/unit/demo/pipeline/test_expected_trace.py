"""Roles and times in a trace."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.demo.pipeline.expected_trace import (
    ASKS,
    beside,
    expected_paths,
    on_the_way,
    outside_of_parents,
    paths,
    role,
    times_alone,
)
from extproc.demo.pipeline.stages import HOSTED, LLM, PROCESSOR, ROUTER
from extproc.telemetry.spans import Span
from tests.unit.demo.pipeline.scene import good_run


def span(id_: str, parent: str, start: int, end: int, service: str = "a", kind: str = "server", name: str = "") -> Span:
    return Span("t", id_, parent, service, name, kind, start, end)


@pytest.mark.parametrize("service", [LLM, HOSTED])
def test_the_expected_paths_are_those_of_a_good_run(service: str) -> None:
    evidence = good_run()
    answer = next(one for one in evidence.answers if one.ask.service == service)
    found = paths(evidence.trace_of(answer))
    assert found == expected_paths(service)
    assert ((service, "server") in {path[-1] for path in found}) is (service == LLM)


def test_calls_to_the_processor_have_a_role_of_their_own() -> None:
    call = span("1", "", 0, 1, ROUTER, "client", "async envoy.service.ext_proc.v3.ExternalProcessor.Process egress")
    assert role(call) == (ROUTER, ASKS)
    assert role(span("1", "", 0, 1, ROUTER, "client")) == (ROUTER, "client")


def test_nobody_waits_for_the_observer() -> None:
    trace = [
        span("root", "", 0, 100),
        span("decides", "root", 1, 2, ROUTER, "client"),
        span("watches", "root", 2, 150, ROUTER, "client"),
        span("ours", "watches", 3, 149, PROCESSOR, "client"),
    ]
    assert beside(trace) == {"watches", "ours"}
    assert [one.id for one in on_the_way(trace)] == ["root", "decides"]


def test_how_far_a_span_is_outside_of_its_parent() -> None:
    trace = [span("a", "", 10, 20), span("b", "a", 8, 25), span("c", "a", 10, 20), span("d", "gone", 0, 99)]
    assert [(one.id, beyond) for one, beyond in outside_of_parents(trace)] == [("b", 5)]


def test_time_alone_is_the_innermost_spans() -> None:
    trace = [span("a", "", 0, 10), span("b", "a", 2, 6), span("c", "b", 3, 4), span("d", "a", 5, 9)]
    assert times_alone(trace) == {"a": 3, "b": 2, "c": 1, "d": 4}


def test_a_loop_among_parents_ends() -> None:
    trace = [span("a", "b", 0, 10), span("b", "a", 2, 6)]
    assert sum(times_alone(trace).values()) == 10
    assert paths(trace) == []


TIMES = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 9)), min_size=1, max_size=10)


@settings(max_examples=50)
@given(TIMES)
def test_times_alone_add_up_to_the_time_in_which_any_span_runs(times: list[tuple[int, int, int]]) -> None:
    trace = [span(str(i), str(above % i) if i else "", min(a, b), max(a, b)) for i, (a, b, above) in enumerate(times)]
    running = {moment for one in trace for moment in range(one.start, one.end)}
    assert sum(times_alone(trace).values()) == len(running)
