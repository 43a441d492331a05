"""All manifests for a gateway of the Gateway API: routes, what they lead to, and the call of the processor."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.errors import SetupError
from extproc.policy.load_balancer import LEAST_REQUEST
from extproc.policy.snapshot import Snapshot
from extproc.render.document import Doc, to_yaml
from extproc.render.gateway_api import envoy_gateway, gke, kgateway
from extproc.render.gateway_api.gateway_options import Flavor, GatewayOptions
from extproc.render.gateway_api.http_routes import http_routes, reached


def documents(snapshot: Snapshot, options: GatewayOptions) -> list[Doc]:
    """The manifests, in the order in which they are to be applied. Raises ``SetupError`` for what the gateway can't do.

    Routes come before the extension, whose headers they match.
    """
    targets = reached(snapshot)
    if options.flavor == "gke" and gke.routes_before_extension(options) and len(targets) > 1:
        raise SetupError(
            f"a gateway of the class {options.gateway_class} chooses the Service before it calls the processor, which "
            f"can't choose among {len(targets)} versions and pools any more; use a regional class "
            "(--gateway-class gke-l7-regional-external-managed), or one version on one pool"
        )
    return [*http_routes(snapshot, options), *_extension(snapshot, options)]


def manifests(snapshot: Snapshot, options: GatewayOptions) -> str:
    """The manifests as one YAML stream. Raises ``SetupError``."""
    head = "".join(f"# {note}\n" for note in notes(snapshot, options))
    return head + "---\n".join(to_yaml(document) for document in documents(snapshot, options))


def notes(snapshot: Snapshot, options: GatewayOptions) -> Iterator[str]:
    """Texts for the user: what the gateway imposes, and what of the policies its manifests can't express."""
    yield from _IMPOSED[options.flavor]
    if options.flavor == "gke" and gke.routes_before_extension(options):
        yield "the Service is chosen before the processor is called, which can refuse, rename and announce, not route"
    for policy in snapshot.policies:
        if policy.timeout or policy.retry_budget:
            yield (
                f"policy {policy.name}: timeout and retryBudget are not rendered: an HTTPRoute's timeout includes the "
                "answer, and would cut streams"
            )
    targets = reached(snapshot)
    if any(target.load_balancer != LEAST_REQUEST for target in targets):
        yield "loadBalancer is not rendered: the Gateway API has no field for it; use the gateway's own"
    if any(policy.picking for policy in snapshot.policies):
        yield "picking has no effect: routes lead to Services, whose servers the gateway chooses by itself"
    if any(target.grpc_endpoints for target in targets):
        yield "grpcEndpoints are not rendered: calls of gRPC go where all requests go"


_DUPLEX = "bodies come FULL_DUPLEX_STREAMED: without a processor requests fail (failOpen: false)"
_UNOBSERVED = "answers are not observed: no extension here sees them without their waiting for it"
_GKE_TLS = (
    "the load balancer speaks TLS to the processor: give `extproc serve` --tls-cert and --tls-key, and its Service "
    "appProtocol: HTTP2, in the Gateway's namespace"
)
_UNCALLED = (
    "nothing here calls the processor: let the gateway's ext_proc do so before it routes, with the request's body "
    "BUFFERED or FULL_DUPLEX_STREAMED, and let it clear the route cache"
)
_IMPOSED: dict[Flavor, tuple[str, ...]] = {
    "envoy-gateway": (
        "Envoy Gateway shows the processor every request header, credentials too",
        "the ClientTrafficPolicy is the Gateway's only one: merge yours into it",
        "a Backend needs extensionApis.enableBackend in Envoy Gateway's configuration",
    ),
    "gke": (_DUPLEX, _GKE_TLS, _UNOBSERVED),
    "kgateway": (_DUPLEX, _UNOBSERVED),
    "plain": (_UNCALLED,),
}


def _extension(snapshot: Snapshot, options: GatewayOptions) -> list[Doc]:
    if options.flavor == "envoy-gateway":
        return envoy_gateway.extension(snapshot, options)
    if options.flavor == "gke":
        return gke.extension(options)
    return kgateway.extension(options) if options.flavor == "kgateway" else []
