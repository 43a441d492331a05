"""kgateway: a GatewayExtension is the processor, a TrafficPolicy puts it before the routes of a Gateway.

Bodies come full duplex: BUFFERED would need a larger limit at the listener, which is the Gateway's owner's to set.
Source: kgateway's CRDs of GatewayExtension and TrafficPolicy.
"""

from __future__ import annotations

from extproc.render.document import Doc
from extproc.render.envoy.envoy_options import request_mode
from extproc.render.gateway_api.gateway_options import GatewayOptions, Service, grant, manifest, processor_service

_GROUP = "gateway.kgateway.dev"
_API = f"{_GROUP}/v1alpha1"
NAME = "aimesh"


def extension(options: GatewayOptions) -> list[Doc]:
    """The processor as an extension, and the policy that has the Gateway call it."""
    gateway, (service, port) = options.gateway_at, processor_service(options)
    mine = Service(gateway.namespace, NAME)
    mode = {_camel(name): value for name, value in request_mode("FULL_DUPLEX_STREAMED").items()}
    called = {
        "grpcService": {"backendRef": {"name": service.name, "namespace": service.namespace, "port": port}},
        "failOpen": False,
        "processingMode": mode | {"requestTrailerMode": "SEND"},
    }
    foreign = service.namespace != gateway.namespace
    needed = [grant((_GROUP, "GatewayExtension", gateway.namespace), service)] if foreign else []
    target = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway.name}
    policy = {"targetRefs": [target], "extProc": {"extensionRef": {"name": NAME}}}
    return [
        *needed,
        manifest(_API, "GatewayExtension", mine, spec={"type": "ExtProc", "extProc": called}),
        manifest(_API, "TrafficPolicy", mine, spec=policy),
    ]


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
