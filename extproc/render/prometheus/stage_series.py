"""Series of the golden metrics of a pipeline's services, as their proxies count them on the server's side."""

from __future__ import annotations

import msgspec

from extproc.render.prometheus.promql import select
from extproc.render.source_names import Proxies


class StageSeries(msgspec.Struct, frozen=True):
    """Selectors for what one service answered."""

    requests: str
    """Of a counter."""
    failures: str
    """Of the same, as far as the service failed."""
    durations: str
    """Of a histogram's buckets, in milliseconds."""


def stage_series(service: str, proxies: Proxies) -> StageSeries:
    """Those of ``service``: the name of its listener's statistics, its workload (Istio) or its deployment (Linkerd)."""
    match proxies:
        case "envoy":
            who = {"envoy_http_conn_manager_prefix": service}
            requests = "envoy_http_downstream_rq_xx"
            failed = select(requests, envoy_response_code_class="5", **who)
            return StageSeries(select(requests, **who), failed, select("envoy_http_downstream_rq_time_bucket", **who))
        case "istio":
            who = {"reporter": "destination", "destination_workload": service}
            requests = "istio_requests_total"
            return StageSeries(
                select(requests, **who),
                select(requests, 'response_code=~"5.."', **who),
                select("istio_request_duration_milliseconds_bucket", **who),
            )
        case "linkerd":
            who = {"direction": "inbound", "deployment": service}
            return StageSeries(
                select("response_total", **who),
                select("response_total", classification="failure", **who),
                select("response_latency_ms_bucket", **who),
            )
