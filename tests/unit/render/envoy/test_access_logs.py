"""The access logs: the processor's always, a file where one is asked for."""

from __future__ import annotations

from extproc.render.envoy.access_logs import access_logs
from extproc.render.envoy.envoy_options import EnvoyOptions


def test_both_or_the_processors_alone() -> None:
    both = access_logs(EnvoyOptions(access_log="/dev/stdout"))
    assert [one["name"] for one in both] == ["envoy.access_loggers.file", "envoy.access_loggers.http_grpc"]
    assert access_logs(EnvoyOptions(access_log="")) == both[1:]


def test_the_processors_log_goes_to_its_cluster() -> None:
    (_, ours) = access_logs(EnvoyOptions(cluster="c"))
    assert ours["typed_config"] == {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
        "common_config": {
            "log_name": "aimesh",
            "transport_api_version": "V3",
            "grpc_service": {"envoy_grpc": {"cluster_name": "c"}},
            "buffer_flush_interval": "0.2s",
            "filter_state_objects_to_log": ["io.istio.peer_principal"],
        },
    }


def test_linkerds_callers_are_logged_only_behind_its_proxy() -> None:
    (_, ours) = access_logs(EnvoyOptions(behind_linkerd=True))
    assert ours["typed_config"]["additional_request_headers_to_log"] == ["l5d-client-id"]


def test_what_people_read() -> None:
    (file, _) = access_logs(EnvoyOptions(access_log="/var/log/a"))
    assert file["typed_config"]["path"] == "/var/log/a"
    line = file["typed_config"]["log_format"]["json_format"]
    assert (line["version"], line["cluster"]) == ("%DYNAMIC_METADATA(aimesh:version)%", "%UPSTREAM_CLUSTER%")
    assert line["failed_open"] == "%TYPED_CEL(filter_state['aimesh.route'].failed_open)%"
