"""What the processor learns of renderings from its streams, and what it tells of them."""

from __future__ import annotations

import logging

import pytest

from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.render.istio.istio_options import IstioOptions
from extproc.render.istio.provenance import METADATA, metadata
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.rendering_drift import (
    CHECK_INTERVAL,
    LOG_INTERVAL,
    MAX_AGE,
    MAX_LENGTH,
    MAX_RENDERINGS,
    SeenRenderings,
)


def snapshot(*versions: str, port: int = 8080) -> Snapshot:
    return Snapshot((Policy("chat", host="chat", port=port, versions=tuple(map(Version, versions))),))


def stream(of: Snapshot) -> tuple[tuple[str, str], ...]:
    """With what a filter opens a stream that was rendered from ``of``."""
    return ("user-agent", "envoy"), (METADATA, metadata(of, IstioOptions()))


def following(of: Snapshot) -> SeenRenderings:
    found = SeenRenderings()
    found.set_snapshot(of, 0.0)
    return found


def test_the_parts_that_differ_are_told() -> None:
    renderings = following(snapshot("v1", "v3", port=80))
    renderings.note(stream(snapshot("v1", "v2")), 1.0)
    differing = renderings.differing(1.0)
    assert {part for part, differs in differing.items() if differs} == {"hosts", "versions", "targets"}
    assert differing["pools"] == 0
    (seen,) = renderings.describe(3.0)
    assert seen["seen"] == 2.0
    assert {"part": "versions", "missing": ["chat/v3"], "surplus": ["chat/v2"]} in seen["differs"]


def test_one_that_agrees_differs_in_nothing() -> None:
    renderings = following(snapshot("v1"))
    renderings.note(stream(snapshot("v1")), 1.0)
    assert set(renderings.differing(1.0).values()) == {0}
    assert renderings.describe(1.0) == [{"seen": 0.0, "differs": []}]


def test_who_tells_nothing_is_not_judged() -> None:
    renderings = following(snapshot("v1"))
    for said in ((), (("user-agent", "envoy"),), ((METADATA, b"bytes"),), ((METADATA, "x" * (MAX_LENGTH + 1)),)):
        renderings.note(said, 1.0)
    assert (renderings.differing(1.0), renderings.describe(1.0)) == ({}, [])


def test_nothing_is_judged_before_there_are_policies() -> None:
    renderings = SeenRenderings()
    renderings.note(stream(snapshot("v1")), 1.0)
    assert set(renderings.differing(1.0).values()) == {0}


def test_a_reload_is_compared_with_what_was_seen() -> None:
    renderings = following(snapshot("v1"))
    renderings.note(stream(snapshot("v1")), 1.0)
    renderings.set_snapshot(snapshot("v1", "v2"), 2.0)
    assert renderings.differing(2.0)["versions"] == 1
    renderings.note(stream(snapshot("v1", "v2")), 3.0)
    assert renderings.differing(3.0)["versions"] == 1, "some proxies still go by the old one"
    assert renderings.differing(1.0 + MAX_AGE)["versions"] == 0


def test_streams_are_looked_at_ten_times_a_second() -> None:
    renderings = following(snapshot("v1"))
    assert renderings.next_check == 0.0
    renderings.note((), 5.0)
    assert renderings.next_check == 5.0 + CHECK_INTERVAL


def test_a_client_that_makes_renderings_up_fills_nothing() -> None:
    renderings = following(snapshot("v1"))
    for number in range(3 * MAX_RENDERINGS):
        renderings.note(((METADATA, f"versions=chat/{number}; {number}=x; nonsense"),), float(number))
    assert len(renderings.describe(3.0 * MAX_RENDERINGS)) == MAX_RENDERINGS
    assert renderings.differing(3.0 * MAX_RENDERINGS).keys() == following(snapshot("v1")).differing(0.0).keys() | {
        *("hosts", "models", "versions", "pools", "targets", "endpoints", "headers", "answers", "settings", "limits"),
        "selectors",
    }


def test_the_log_names_what_differs_and_stays_quiet_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    renderings = following(snapshot("v1", "v3"))
    with caplog.at_level(logging.WARNING):
        renderings.note(stream(snapshot("v1")), 100.0)
        renderings.note(stream(snapshot("v2")), 101.0)
    (record,) = caplog.records
    assert record.getMessage() == (
        "requests come by a rendering of other policies: versions (lacks chat/v3), targets (lacks chat/v3); "
        "apply what `extproc render istio` makes of the policies now"
    )
    with caplog.at_level(logging.WARNING):
        renderings.note(stream(snapshot("v7")), 100.0 + LOG_INTERVAL)
    assert "still has chat/v7" in caplog.records[-1].getMessage()


def samples(metrics: Metrics) -> dict[str, float]:
    return {
        sample.labels["part"]: sample.value
        for family in metrics.collect()
        for sample in family.samples
        if sample.name == "extproc_rendering_differs"
    }


def test_the_gauge_and_that_of_several_workers() -> None:
    one, other, total = Metrics(), Metrics(), Metrics()
    assert samples(one) == {}
    for metrics, versions in ((one, ("v1",)), (other, ("v1", "v2"))):
        metrics.set_snapshot(snapshot("v1"))
        metrics.renderings.note(stream(snapshot(*versions)), metrics.renderings.next_check + 1e9)
        total.add(metrics.state())
    assert samples(one)["versions"] == 0
    assert samples(other)["versions"] == samples(total)["versions"] == 1
    assert samples(total)["hosts"] == 0
