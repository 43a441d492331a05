"""Names of Gateways and Services."""

from __future__ import annotations

import pytest

from extproc.errors import SetupError
from extproc.render.gateway_api.gateway_manifests import documents
from extproc.render.gateway_api.gateway_options import GatewayOptions, service_of
from tests.unit.render.snapshots import PLAIN


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("chat", ("ai", "chat")),
        ("chat.ml", ("ml", "chat")),
        ("chat.ml.svc", ("ml", "chat")),
        ("chat.ml.svc.cluster.local.", ("ml", "chat")),
        ("model.example.com", None),
        ("a.b.c.svc", None),
        ("10.0.0.1", None),
        ("[::1]", None),
        ("localhost", None),
    ],
)
def test_hosts_that_are_services(host: str, found: tuple[str, str] | None) -> None:
    service = service_of(host, "ai")
    assert (service and (service.namespace, service.name)) == found


@pytest.mark.parametrize("gateway", ["public", "a/b/c", "A/b"])
def test_a_gateway_has_a_namespace_and_a_name(gateway: str) -> None:
    with pytest.raises(SetupError, match="is no gateway"):
        documents(PLAIN, GatewayOptions(flavor="plain", gateway=gateway))
