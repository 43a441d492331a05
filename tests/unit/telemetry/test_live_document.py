"""What the page is told: the metrics of a window, shares against weights, points for charts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from extproc.exchange.notes import Fault, Observed, Unmatched
from extproc.policy.snapshot import OTHER, Policy, Snapshot, Sticky, Version
from extproc.policyfile import effective_policy
from extproc.telemetry.live_document import MAX_CALLERS, LiveQuery, build_document, pool_places
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.recent_traffic_by_caller import SLICE_SECONDS, RecentTraffic

SNAPSHOT = Snapshot(
    (
        Policy(
            "llama",
            models=("llama-*",),
            versions=(Version("v1", 90), Version("v2", 10), Version("next", 0, mirror=5)),
            sticky=Sticky(header="x-user"),
        ),
        Policy("iris", models=("iris",), versions=(Version("v1"),)),
    )
)


class Scene:
    """A processor whose clock stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.recent = RecentTraffic(lambda: self.now)
        self.metrics = Metrics()

    def exchange(self, model: str, version: str, cohort: str = "sticky", code: str = "200", caller: str = "") -> None:
        observed = Observed(model, version, "none", "openai", code, 0.15, cohort=cohort, caller=caller)
        self.recent.note(observed)

    def document(self, unready: str = "", **asked: Any) -> dict[str, Any]:
        config = effective_policy.describe(SNAPSHOT)
        found = build_document(self.recent.report(), config, self.metrics, unready, LiveQuery(**asked))
        return msgspec.json.decode(msgspec.json.encode(found))  # type: ignore[no-any-return]


def test_metrics_by_model_and_in_all() -> None:
    scene = Scene()
    for n in range(10):
        scene.exchange("llama-*", "v2", code="503" if n < 5 else "200")
    scene.exchange(OTHER, "none")
    scene.exchange("iris", "v1")
    scene.now += 10
    found = scene.document()
    assert [(row["model"], row["version"], row["requests"]) for row in found["models"]] == [
        ("iris", "v1", 1),
        ("llama-*", "v1", 0),
        ("llama-*", "v2", 10),
        (OTHER, "none", 1),
    ], "what the policy names is there without traffic too, but for mirrors, which answer nobody"
    assert [row["success"] for row in found["models"]] == [1.0, None, 0.5, 1.0]
    assert found["models"][2]["rps"] == 1.0
    assert found["total"]["requests"] == 12
    assert found["total"]["ttft_p50_ms"] is None
    assert found["seconds"] == 10.0


def test_shares_are_of_what_the_weights_chose() -> None:
    scene = Scene()
    for n in range(10):
        scene.exchange("llama-*", "v2" if n < 2 else "v1", "weight" if n % 2 else "sticky")
    scene.exchange("llama-*", "v2", "pin")
    scene.exchange("llama-*", "v2", "match")
    (canary,) = scene.document()["canaries"]
    assert canary == {
        "policy": "llama",
        "models": ["llama-*"],
        "sticky": True,
        "requests": 10,
        "versions": [
            {"version": "v1", "weight": 0.9, "share": 0.8, "requests": 8},
            {"version": "v2", "weight": 0.1, "share": 0.2, "requests": 2},
        ],
    }


def test_no_traffic_has_no_share() -> None:
    found = Scene().document(unready="draining")
    assert [version["share"] for version in found["canaries"][0]["versions"]] == [None, None]
    assert [row["requests"] for row in found["models"]] == [0, 0, 0]
    assert found["total"]["success"] is None
    assert found["unready"] == "draining"


def test_points_go_on_where_they_ended() -> None:
    scene = Scene()
    scene.exchange("iris", "v1")
    scene.now += 4 * SLICE_SECONDS
    points = scene.document()["points"]
    assert [point["number"] for point in points] == [200_000, 200_001, 200_002, 200_003, 200_004]
    assert [len(point["lines"]) for point in points] == [1, 1, 1, 0, 0]
    assert points[0]["lines"][0]["model"] == "iris"
    assert [point["number"] for point in scene.document(since=200_003)["points"]] == [200_003, 200_004]


def test_callers_are_few() -> None:
    scene = Scene()
    for n in range(MAX_CALLERS + 5):
        scene.exchange("iris", "v1", caller=f"c{n}")
    found = scene.document()["edges"]
    assert len(found) == MAX_CALLERS + 1
    assert found[-1]["caller"] == OTHER
    assert found[-1]["requests"] == 5


def test_places_of_pools_where_there_are_any() -> None:
    west, east = {"name": "west", "cluster": "one", "locality": "us/a"}, {"name": "east", "cluster": "", "locality": ""}
    assert pool_places({"pools": [west, east]}) == {
        "west": {"cluster": "one", "locality": "us/a"},
        "east": {"cluster": "none", "locality": "none"},
    }
    assert pool_places({"pools": [east]}) == {}
    assert pool_places({}) == {}


def test_what_went_wrong_elsewhere() -> None:
    scene = Scene()
    scene.metrics.note(Unmatched("no_api"))
    scene.metrics.note(Fault("late_request_body"))
    scene.metrics.streams = 3
    found = scene.document()
    assert (found["unmatched"], found["errors"], found["streams"]) == ({"no_api": 1}, {"late_request_body": 1}, 3)


@pytest.mark.parametrize("bad", [{"window": 0}, {"window": 301}, {"window": "x"}, {"since": 1.5}, {"form": 1}])
def test_parameters_that_make_no_sense(bad: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(bad, LiveQuery, strict=False)
