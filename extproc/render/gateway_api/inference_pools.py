"""InferencePools of which the processor picks the servers, and HTTPRoutes to them: no EnvoyFilter, no subsets.

One pool for each policy, with the pods of all its versions: the processor decides version and server in one answer, and
the server implies the version. With a pool for each version the route would choose the version, once more and by
itself. Of two pools in one rule Istio moreover asks the picker of one only, whichever the route then chooses
(istio/istio#61594). So a rule has one pool. Which policy owns a request is known when the processor has read it; Envoy
then chooses the route again, by the header with the model. Until then the request matches the last rule, whose pool has
the same picker.

Source: Gateway API Inference Extension 1.5, ``inference.networking.k8s.io/v1``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from extproc.errors import SetupError
from extproc.policy.load_balancer import LEAST_REQUEST
from extproc.policy.snapshot import Policy, Snapshot
from extproc.policy.upstream import PLAIN
from extproc.render import service_names
from extproc.render.document import Doc, to_yaml
from extproc.render.envoy.envoy_options import host_port, is_ip, is_own_machine
from extproc.render.gateway_api.gateway_options import GatewayOptions, Service, manifest, namespace, processor_service
from extproc.render.gateway_api.http_routes import MAX_MATCHES, in_routes, matching, owners
from extproc.render.istio.destinations import targets
from extproc.render.istio.provenance import ANNOTATION, pool_annotation
from extproc.render.istio.virtual_services import catch_all

POOL_GROUP = "inference.networking.k8s.io"
POOL = f"{POOL_GROUP}/v1", "InferencePool"
MAX_PORTS = 8
"""Of a pool, by its CRD."""


def documents(snapshot: Snapshot, options: GatewayOptions, *, fail_open: bool) -> list[Doc]:
    """Pools, and then the routes to them. Raises ``SetupError`` for what pools can't do.

    ``fail_open``: without a processor the gateway spreads requests over the pool's pods; else it answers 503.
    """
    pools = [_pool(policy, snapshot, options, fail_open=fail_open) for policy in snapshot.policies]
    rules: dict[str, list[Doc]] = defaultdict(list)
    owned = owners(snapshot, options)
    for policy, models in owned:
        rules[namespace(policy, options)] += _rules(policy, models)
    if snapshot.policies and not any(None in models for _, models in owned):
        default = catch_all(snapshot, snapshot.policies)
        rules[namespace(default, options)] += _rules(default, [None])
    found = [*pools, *(route for where, mine in rules.items() for route in in_routes(where, mine, options))]
    for doc in found:
        doc["metadata"]["annotations"] = {ANNOTATION: pool_annotation(snapshot)}
    return found


def manifests(snapshot: Snapshot, options: GatewayOptions, *, fail_open: bool) -> str:
    """The manifests as one YAML stream. Raises ``SetupError``."""
    return "---\n".join(to_yaml(document) for document in documents(snapshot, options, fail_open=fail_open))


def notes(snapshot: Snapshot, *, fail_open: bool) -> Iterator[str]:
    """Texts for the user: what the gateway needs, and what of the policies a pool can't express."""
    yield "istiod reads InferencePools where ENABLE_GATEWAY_API_INFERENCE_EXTENSION=true is in its environment"
    yield "the port of the processor's Service must be declared as gRPC: appProtocol: kubernetes.io/h2c"
    yield "answers are not observed: no tokens and no times of the first one; render without --inference-pool for these"
    if fail_open:
        yield "while no processor answers, requests are spread over all pods, whatever the weights (--fail-closed: 503)"
    for policy in snapshot.policies:
        found = targets(snapshot)[policy.name]
        lost = {
            "timeout": policy.timeout is not None,
            "retryBudget": policy.retry_budget is not None,
            "loadBalancer": any(target.load_balancer != LEAST_REQUEST for target in found),
            "mirror": bool(policy.mirrors),
        }
        if any(lost.values()):
            names = ", ".join(name for name, is_lost in lost.items() if is_lost)
            yield f"policy {policy.name}: not rendered: {names}"


def _pool(policy: Policy, snapshot: Snapshot, options: GatewayOptions, *, fail_open: bool) -> Doc:
    where = namespace(policy, options)
    if policy.picking is None:
        raise SetupError(f"policy {policy.name} picks no servers, which is what pools are for; write picking: {{}}")
    if not policy.selector:
        raise SetupError(f"policy {policy.name}: nothing tells which pods serve it; give spec.selector.matchLabels")
    for version in policy.versions:
        if version.inference_pool not in ("", _name(policy)):
            raise SetupError(
                f"policy {policy.name}: the InferencePool that is rendered is {_name(policy)}, and the version "
                f"{version.name} has the pods of {version.inference_pool}, to which the route does not lead; write "
                f"inferencePool: {{name: {_name(policy)}}}, with matchLabels for those of its pods"
            )
    if any(target.upstream != PLAIN for target in targets(snapshot)[policy.name]):
        raise SetupError(f"policy {policy.name}: pools have no https://, pathRewrite and credentials")
    service, port = processor_service(options)
    if "." in host_port(options.processor)[0] and service.namespace != where:
        raise SetupError(
            f"policy {policy.name}: a pool finds its picker in its own namespace, and {options.processor} is not in "
            f"{where}; install the processor there"
        )
    servers = _servers(policy, snapshot)
    if own := next((server for server in servers if is_own_machine(host_port(server)[0])), ""):
        raise SetupError(f"policy {policy.name}: no pod of a pool is at {own}; list addresses of pods")
    ports = list(dict.fromkeys(port for host, port in map(host_port, servers) if is_ip(host))) or [policy.port]
    if len(ports) > MAX_PORTS:
        raise SetupError(f"policy {policy.name}: its servers have {len(ports)} ports, and a pool {MAX_PORTS} at most")
    picker = {"name": service.name, "port": {"number": port}, "failureMode": "FailOpen" if fail_open else "FailClose"}
    spec = {
        "selector": {"matchLabels": dict(policy.selector)},
        "targetPorts": [{"number": number} for number in ports],
        "endpointPickerRef": picker,
    }
    return manifest(*POOL, Service(where, _name(policy)), spec=spec)


def _servers(policy: Policy, snapshot: Snapshot) -> list[str]:
    """``host:port`` of all that it lists."""
    found = targets(snapshot)[policy.name]
    return [server for target in found for grpc in (False, True) for server in target.servers(grpc=grpc)]


def _name(policy: Policy) -> str:
    return service_names.label(policy.name)


def _rules(policy: Policy, models: Sequence[Doc | None]) -> Iterator[Doc]:
    backend = {"group": POOL_GROUP, "kind": "InferencePool", "name": _name(policy)}
    for start in range(0, len(models), MAX_MATCHES):
        wanted = [[model] if model else [] for model in models[start : start + MAX_MATCHES]]
        yield {"matches": matching(wanted), "backendRefs": [backend]}
