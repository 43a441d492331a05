"""Envoy's access logs: one for people, a line of JSON for each request, and one for the processor, by gRPC."""

from __future__ import annotations

from extproc import headers
from extproc.envoy.events import PEER_NAME, TUNNEL_PEER
from extproc.render.document import Doc
from extproc.render.envoy.envoy_options import NAMESPACE, ROUTE_FILTER, EnvoyOptions, seconds, typed

ACCOUNT_INTERVAL = 0.2
"""Seconds for which Envoy collects entries for the processor."""
_LOGGED = ("model", "version", "gpu_pool", "api", "cohort", "policy")


def access_logs(options: EnvoyOptions) -> list[Doc]:
    """Both, or the processor's alone."""
    return [*([_file_log(options.access_log)] if options.access_log else []), account_log(options)]


def account_log(options: EnvoyOptions, *metadata: tuple[str, str]) -> Doc:
    """The log that the processor counts requests by (``exchange.request_outcome``): a stream of each thread, with this
    gRPC metadata.
    """
    headers_read = [headers.LINKERD_CLIENT] if options.behind_linkerd else []
    tags = [{"tag": PEER_NAME, "value": "%DOWNSTREAM_PEER_DNS_SAN%"}] if options.verifies_clients else []
    service: Doc = {"envoy_grpc": {"cluster_name": options.cluster}}
    if metadata:
        service["initial_metadata"] = [{"key": key, "value": value} for key, value in metadata]
    return typed(
        "envoy.access_loggers.http_grpc",
        "extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
        common_config={
            "log_name": NAMESPACE,
            "transport_api_version": "V3",
            "grpc_service": service,
            "buffer_flush_interval": seconds(ACCOUNT_INTERVAL),
            "filter_state_objects_to_log": [TUNNEL_PEER],
            **({"custom_tags": tags} if tags else {}),
        },
        **({"additional_request_headers_to_log": headers_read} if headers_read else {}),
    )


def _file_log(path: str) -> Doc:
    def state(field: str) -> str:
        return f"%TYPED_CEL(filter_state['{ROUTE_FILTER}'].{field})%"  # as a number, which FILTER_STATE writes as text

    line = {
        "time": "%START_TIME%",
        "method": "%REQ(:METHOD)%",
        "path": "%PATH(NQ:PATH)%",  # some clients send their key as ?key=
        "protocol": "%PROTOCOL%",
        "code": "%RESPONSE_CODE%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "flags": "%RESPONSE_FLAGS%",
        **{key: f"%DYNAMIC_METADATA({NAMESPACE}:{key})%" for key in _LOGGED},
        "cluster": "%UPSTREAM_CLUSTER%",
        "upstream": "%UPSTREAM_HOST%",
        "upstream_failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
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
