"""Envoy's access log."""

from __future__ import annotations

from extproc.render.envoy.access_log import access_log


def test_a_line_is_one_json_object_with_what_the_processor_decided() -> None:
    found = access_log("/log")["typed_config"]
    line = found["log_format"]["json_format"]
    assert found["path"] == "/log"
    assert line["version"] == "%DYNAMIC_METADATA(aimesh:version)%"
    assert line["processor_us"] == "%FILTER_STATE(aimesh.route:FIELD:request_header_latency_us)%"
