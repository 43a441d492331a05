"""Rows of the dashboard for the services of a pipeline: what comes before and after the models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from extproc.render.grafana.panel_layout import Row
from extproc.render.grafana.panels import time_series
from extproc.render.prometheus.stage_series import stage_series
from extproc.render.source_names import Proxies

_QUANTILES = ("0.5", "0.95", "0.99")


def stage_rows(services: Sequence[str], proxies: Proxies) -> Iterator[Row]:
    """One row for each service, in their order: success, requests, durations."""
    for service in services:
        series = stage_series(service, proxies)
        requests, failures = (f"sum(rate({one}[$__rate_interval]))" for one in (series.requests, series.failures))
        buckets = f"sum by (le) (rate({series.durations}[$__rate_interval]))"
        times = [(f"histogram_quantile({q}, {buckets}) / 1000", f"P{float(q) * 100:g}") for q in _QUANTILES]
        # Without a failure there is no series of failures.
        success = f"1 - ({failures} or vector(0)) / ({requests} > 0)"
        yield Row(
            f"Stage: {service}",
            [
                time_series("Success", "No 5xx.", "percentunit", (success, service), width=8, max_value=1),
                time_series("Requests", "A second.", "reqps", (requests, service), width=8),
                time_series("Durations", "As its own proxy measures them.", "s", *times, width=8),
            ],
        )
