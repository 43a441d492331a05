"""Envoy Gateway: an EnvoyExtensionPolicy calls the processor, a ClientTrafficPolicy keeps clients from deciding.

Bodies are buffered, which a processor that hangs or is gone does not stop (``failOpen``); full duplex would, as then
Envoy has no timeout. Source: the CRDs of Envoy Gateway 1.9.
"""

from __future__ import annotations

from extproc.policy.snapshot import Snapshot
from extproc.render.document import Doc
from extproc.render.envoy.client_headers import removed_headers
from extproc.render.envoy.envoy_options import NAMESPACE, host_port
from extproc.render.envoy.routes import body_buffer
from extproc.render.gateway_api.backends import backend_endpoint
from extproc.render.gateway_api.gateway_options import GatewayOptions, Service, grant, manifest, service_of

_API, _GROUP = "gateway.envoyproxy.io/v1alpha1", "gateway.envoyproxy.io"
_MESSAGE_TIMEOUT = "1s"
NAME = "aimesh"


def extension(snapshot: Snapshot, options: GatewayOptions) -> list[Doc]:
    """The policies for the Gateway, and what they name."""
    gateway, (host, port) = options.gateway_at, host_port(options.processor)
    service = service_of(host, gateway.namespace)
    mine = Service(gateway.namespace, NAME)
    target = {"targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway.name}]}
    if service is None:
        processor = Service(gateway.namespace, f"{NAME}-processor")
        needed = [manifest(_API, "Backend", processor, spec={"endpoints": [backend_endpoint(host, port)]})]
        reference: Doc = {"group": _GROUP, "kind": "Backend", "name": processor.name}
    else:
        reference = {"group": "", "kind": "Service", "name": service.name, "namespace": service.namespace, "port": port}
        foreign = service.namespace != gateway.namespace
        needed = [grant((_GROUP, "EnvoyExtensionPolicy", gateway.namespace), service)] if foreign else []
    route = {
        "backendRefs": [reference],
        "messageTimeout": _MESSAGE_TIMEOUT,
        "failOpen": True,
        "processingMode": {"request": {"body": "Buffered"}},
        "metadata": {"writableNamespaces": [NAMESPACE]},
    }
    observe = {
        "backendRefs": [reference],
        "shadowMode": True,  # Envoy's observability mode
        "failOpen": True,
        "processingMode": {"request": {}, "response": {"body": "Streamed"}},
        "metadata": {"accessibleNamespaces": [NAMESPACE]},
    }
    clients = {
        "connection": {"bufferLimit": str(body_buffer(snapshot, "buffered"))},
        "headers": {"earlyRequestHeaders": {"remove": removed_headers(snapshot)}},
    }
    return [
        *needed,
        manifest(_API, "ClientTrafficPolicy", mine, spec=target | clients),
        manifest(_API, "EnvoyExtensionPolicy", mine, spec=target | {"extProc": [route, observe]}),
    ]
