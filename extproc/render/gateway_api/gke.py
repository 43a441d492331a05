"""GKE's gateways (Google Cloud's load balancers): an extension calls the processor.

A GCPRoutingExtension is called before the load balancer routes, by regional gateways only. Global ones know the
GCPTrafficExtension, which is called when the Service has been chosen. Bodies come full duplex: the load balancer offers
nothing else in which the headers wait for the body. Source: Google's guide "Customize GKE Gateway traffic using Service
Extensions" and the reference of ExtensionChain.
"""

from __future__ import annotations

from extproc.render.document import Doc
from extproc.render.gateway_api.gateway_options import GatewayOptions, Service, manifest, processor_service

_API = "networking.gke.io/v1"
NAME = "aimesh"
_EVERY_REQUEST = 'request.path.startsWith("/")'
"""The CRD knows no constant as a condition."""


def routes_before_extension(options: GatewayOptions) -> bool:
    """Whether the gateway chooses the Service before it calls the processor."""
    return "global" in options.gateway_class


def extension(options: GatewayOptions) -> list[Doc]:
    """The extension of the Gateway, and how the load balancer tells that the processor is there."""
    gateway, (service, port) = options.gateway_at, processor_service(options)
    kind = "GCPTrafficExtension" if routes_before_extension(options) else "GCPRoutingExtension"
    called = {
        "name": NAME,
        "authority": f"{service.name}.{service.namespace}.svc.cluster.local",
        "timeout": "1s",
        "failOpen": False,
        "supportedEvents": ["RequestHeaders", "RequestBody", "RequestTrailers"],
        "requestBodySendMode": "FullDuplexStreamed",
        "backendRef": {"group": "", "kind": "Service", "name": service.name, "port": port},
    }
    health = {
        "targetRef": {"group": "", "kind": "Service", "name": service.name},
        "default": {"config": {"type": "GRPC", "grpcHealthCheck": {"portSpecification": "USE_SERVING_PORT"}}},
    }
    target = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway.name}
    every = {"celExpressions": [{"celMatcher": _EVERY_REQUEST}]}
    chain = {"name": NAME, "matchCondition": every, "extensions": [called]}
    return [
        manifest(_API, "HealthCheckPolicy", Service(service.namespace, NAME), spec=health),
        manifest(
            _API,
            kind,
            Service(gateway.namespace, NAME),
            spec={"targetRefs": [target], "extensionChains": [chain]},
        ),
    ]
