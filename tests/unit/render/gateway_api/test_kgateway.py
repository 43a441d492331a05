"""kgateway: an extension, and the policy that puts it before routes."""

from __future__ import annotations

from tests.unit.render.gateway_api.rendered_extension import extension


def test_kgateway_calls_full_duplex() -> None:
    """The fields and words of the CRDs of GatewayExtension and TrafficPolicy."""
    found = extension("kgateway")
    assert found["GatewayExtension"]["extProc"] == {
        "grpcService": {"backendRef": {"name": "aimesh-extproc", "namespace": "aimesh-system", "port": 50051}},
        "failOpen": False,
        "processingMode": {
            "requestHeaderMode": "SEND",
            "requestBodyMode": "FULL_DUPLEX_STREAMED",
            "requestTrailerMode": "SEND",
            "responseHeaderMode": "SKIP",
            "responseBodyMode": "NONE",
            "responseTrailerMode": "SKIP",
        },
    }
    assert found["TrafficPolicy"]["extProc"] == {"extensionRef": {"name": "aimesh"}}
