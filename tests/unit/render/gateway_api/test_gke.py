"""GKE: which extension, and what it can do."""

from __future__ import annotations

import pytest

from extproc.errors import SetupError
from extproc.render.gateway_api.gateway_manifests import notes
from tests.unit.render.gateway_api.rendered_extension import SERVICES, extension, options
from tests.unit.render.snapshots import PLAIN


def test_gke_calls_before_it_routes_where_it_can() -> None:
    found = extension("gke")
    assert found.keys() == {"HealthCheckPolicy", "GCPRoutingExtension"}
    (chain,) = found["GCPRoutingExtension"]["extensionChains"]
    (called,) = chain["extensions"]
    assert called["requestBodySendMode"] == "FullDuplexStreamed"
    assert called["supportedEvents"] == ["RequestHeaders", "RequestBody", "RequestTrailers"]
    assert called["failOpen"] is False
    of_class = {"gateway_class": "gke-l7-global-external-managed"}
    assert "GCPTrafficExtension" in extension("gke", PLAIN, **of_class)
    with pytest.raises(SetupError, match="can't choose among 2"):
        extension("gke", SERVICES, **of_class)
    assert any("not route" in note for note in notes(PLAIN, options("gke", **of_class)))


def test_every_request_is_matched_in_words_that_the_crd_knows() -> None:
    (chain,) = extension("gke")["GCPRoutingExtension"]["extensionChains"]
    assert chain["matchCondition"] == {"celExpressions": [{"celMatcher": 'request.path.startsWith("/")'}]}
