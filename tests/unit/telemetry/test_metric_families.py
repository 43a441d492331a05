"""The names of built-in metrics, which no custom metric may take."""

from __future__ import annotations

from extproc.telemetry.metric_families import find_conflict
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.rollout_gauges import NAMES as ROLLOUT_GAUGES


def test_each_family_of_a_scrape_is_taken() -> None:
    families = [family.name for family in Metrics().collect()]
    assert len(families) > 15
    for name in (*families, *ROLLOUT_GAUGES):
        assert find_conflict(name, "GAUGE"), name


def test_samples_that_prometheus_would_mix_up_conflict() -> None:
    assert find_conflict("inference_requests", "GAUGE") == "inference_requests"
    assert find_conflict("inference_requests_total", "COUNTER") == "inference_requests"
    assert find_conflict("inference_request_duration_seconds_bucket", "GAUGE") == "inference_request_duration_seconds"
    assert find_conflict("inference_target_up", "GAUGE") == "inference_target_up"
    assert find_conflict("extproc_anything", "GAUGE") == "extproc_*"
    assert not find_conflict("inference_throughput", "GAUGE")
