"""Envoy's access log: one JSON object a request."""

from __future__ import annotations

from extproc.render.document import Doc
from extproc.render.envoy.envoy_options import (
    NAMESPACE,
    ROUTE_FILTER,
    typed,
)

_LOGGED = ("model", "version", "gpu_pool", "api", "cohort", "policy")


def access_log(path: str) -> Doc:
    """The access logger that writes to the file ``path``."""

    def state(field: str) -> str:
        return f"%FILTER_STATE({ROUTE_FILTER}:FIELD:{field})%"

    line = {
        "time": "%START_TIME%",
        "method": "%REQ(:METHOD)%",
        "path": "%REQ(:PATH)%",
        "protocol": "%PROTOCOL%",
        "code": "%RESPONSE_CODE%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "flags": "%RESPONSE_FLAGS%",
        **{key: f"%DYNAMIC_METADATA({NAMESPACE}:{key})%" for key in _LOGGED},
        "cluster": "%UPSTREAM_CLUSTER%",
        "upstream": "%UPSTREAM_HOST%",
        "duration_ms": "%DURATION%",
        "route_ms": "%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:ms)%",
        "upstream_ms": "%COMMON_DURATION(US_TX_BEG:US_RX_BEG:ms)%",
        "processor_us": state("request_header_latency_us"),
        "failed_open": state("failed_open"),
        "bytes_in": "%BYTES_RECEIVED%",
        "bytes_out": "%BYTES_SENT%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "request_id": "%REQ(X-REQUEST-ID)%",
    }
    return typed(
        "envoy.access_loggers.file",
        "extensions.access_loggers.file.v3.FileAccessLog",
        path=path,
        log_format={"json_format": line},
    )
