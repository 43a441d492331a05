"""Envoy Gateway: two calls of the processor, and no routing headers of clients."""

from __future__ import annotations

import pytest

from extproc.errors import SetupError
from extproc.render.gateway_api.gateway_manifests import documents
from tests.unit.render.gateway_api.rendered_extension import SERVICES, extension, options


def test_envoy_gateway_decides_with_one_and_watches_with_the_other() -> None:
    found = extension("envoy-gateway")
    route, observe = found["EnvoyExtensionPolicy"]["extProc"]
    assert route["processingMode"] == {"request": {"body": "Buffered"}}
    assert route["failOpen"]
    assert (observe["shadowMode"], observe["processingMode"]["response"]) == (True, {"body": "Streamed"})
    clients = found["ClientTrafficPolicy"]
    assert "x-model-version" in clients["headers"]["earlyRequestHeaders"]["remove"]
    assert int(clients["connection"]["bufferLimit"]) > SERVICES.body_limit
    (target,) = clients["targetRefs"]
    assert target["name"] == "public"
    grants = [d for d in documents(SERVICES, options("envoy-gateway")) if d["kind"] == "ReferenceGrant"]
    assert {grant["spec"]["from"][0]["kind"] for grant in grants} == {"HTTPRoute", "EnvoyExtensionPolicy"}


@pytest.mark.parametrize(("address", "end"), [("10.0.0.1:1", "ip"), ("p.example.com:1", "fqdn")])
def test_a_processor_outside_the_cluster(address: str, end: str) -> None:
    found = extension("envoy-gateway", SERVICES, processor=address)
    assert found["EnvoyExtensionPolicy"]["extProc"][0]["backendRefs"][0]["kind"] == "Backend"
    assert end in found["Backend"]["endpoints"][0]
    for flavor in ("gke", "kgateway"):
        with pytest.raises(SetupError, match="is no Service"):
            documents(SERVICES, options(flavor, processor=address))
