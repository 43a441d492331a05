"""Whose series tell of a pipeline's services."""

from __future__ import annotations

import pytest

from extproc.render.prometheus.stage_series import stage_series
from extproc.render.source_names import PROXIES, Proxies


@pytest.mark.parametrize(
    ("proxies", "name", "failed"),
    [
        ("envoy", 'envoy_http_conn_manager_prefix="a\\"b"', 'envoy_response_code_class="5"'),
        ("istio", 'destination_workload="a\\"b"', 'response_code=~"5.."'),
        ("linkerd", 'deployment="a\\"b"', 'classification="failure"'),
    ],
)
def test_selectors(proxies: Proxies, name: str, failed: str) -> None:
    series = stage_series('a"b', proxies)
    assert all(name in one for one in (series.requests, series.failures, series.durations))
    assert failed in series.failures
    assert failed not in series.requests
    assert series.requests.partition("{")[0] == series.failures.partition("{")[0]
    assert series.durations.partition("{")[0].endswith("_bucket")


def test_every_mesh_is_there() -> None:
    assert PROXIES == ("envoy", "istio", "linkerd")
