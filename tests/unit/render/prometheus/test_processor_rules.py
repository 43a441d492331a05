"""Alerts on the processor itself."""

from __future__ import annotations

import re

import pytest

from extproc.render.prometheus.processor_rules import FAILED_OPEN, processor
from extproc.render.source_names import SOURCES, Source
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.rollout_gauges import NAMES as ROLLOUT_GAUGES

NAMES = [
    "InferenceProcessorAbsent",
    "InferencePolicyReloadFailed",
    "InferenceProcessorErrors",
    "InferenceNotAsDecided",
    "InferenceProcessorSlow",
    "InferenceRequestsUnmatched",
    "InferenceVersionDown",
    "InferencePoolFull",
    "InferenceRolloutRolledBack",
    "InferenceRolloutPaused",
]


@pytest.mark.parametrize("source", SOURCES)
def test_envoy_s_counter_is_only_for_an_envoy_that_we_configure(source: Source) -> None:
    more = ["InferenceFailedOpen"] if source == "extproc" else []
    assert [alert["alert"] for alert in processor(source)] == [*NAMES, *more]


def test_every_alert_tells_what_to_do_and_how_urgent_it_is() -> None:
    for alert in processor("extproc"):
        assert alert["labels"]["severity"] in ("page", "ticket")
        assert alert["annotations"]["summary"]
        assert alert["annotations"]["description"].endswith(".")
        assert re.fullmatch(r"\d+m", alert["for"])
    paging = [alert["alert"] for alert in processor("extproc") if alert["labels"]["severity"] == "page"]
    assert paging == [
        "InferenceProcessorAbsent",
        "InferenceNotAsDecided",
        "InferenceVersionDown",
        "InferenceFailedOpen",
    ]


def test_metrics_are_those_that_there_are() -> None:
    exported = {metric.name for metric in Metrics().collect()} | {*ROLLOUT_GAUGES}
    for alert in processor("extproc"):
        names = set(re.findall(r"(?:inference|extproc)_[a-z_]+", alert["expr"])) - {FAILED_OPEN}
        assert {re.sub(r"_(bucket|total)$", "", name) for name in names if name not in FAILED_OPEN} <= exported
