"""What has a gateway call the processor, as it is rendered for the tests of each flavour."""

from __future__ import annotations

from typing import Any

from extproc.policy.load_balancer import LoadBalancer
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.render.gateway_api.gateway_manifests import documents
from extproc.render.gateway_api.gateway_options import Flavor, GatewayOptions

SERVICES = Snapshot(
    (
        Policy(
            "chat",
            "ai",
            (("app", "chat"),),
            "chat",
            versions=(Version("v1", 9), Version("v2", 1, ("vllm.gpus.svc:80",))),
            timeout=30.0,
            load_balancer=LoadBalancer("random"),
        ),
    )
)


def options(flavor: Flavor, **fields: Any) -> GatewayOptions:
    return GatewayOptions(flavor=flavor, gateway="infra/public", **fields)


def extension(flavor: Flavor, snapshot: Snapshot = SERVICES, **fields: Any) -> dict[str, dict[str, Any]]:
    """The specs of what is no route, by kind."""
    known = ("HTTPRoute", "Service", "EndpointSlice", "ReferenceGrant")
    found = documents(snapshot, options(flavor, **fields))
    return {doc["kind"]: doc["spec"] for doc in found if doc["kind"] not in known}
