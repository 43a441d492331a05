"""What an HTTPRoute names for a target: Services, and objects for servers that are in none.

- The policy's own ``host:port`` is the apex Service; of a version or on a pool, a Service for pods with its labels.
- An endpoint that is a Service is that Service.
- Addresses: for Envoy Gateway and kgateway a ``Backend`` of theirs, which takes other hosts as well; else a Service
  without a selector, and an EndpointSlice.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

import msgspec

from extproc.errors import SetupError
from extproc.policy.snapshot import Policy
from extproc.policy.target import Target
from extproc.policy.upstream import PLAIN
from extproc.render import service_names
from extproc.render.document import Doc
from extproc.render.envoy.envoy_options import host_port, is_ip, is_own_machine
from extproc.render.gateway_api.gateway_options import GatewayOptions, Service, manifest, namespace, service_of
from extproc.render.istio.istio_options import POOL_LABEL, VERSION_LABEL

_ENVOY_GATEWAY, _KGATEWAY = "gateway.envoyproxy.io", "gateway.kgateway.dev"


class Backend(msgspec.Struct, frozen=True):
    """Something that a route may name, and the objects that make it."""

    at: Service
    port: int
    size: int = 1
    """Endpoints of the target that it stands for."""
    group: str = ""
    """Empty: it is a Service, else a ``Backend`` of this group."""
    manifests: tuple[Doc, ...] = ()

    def reference(self, weight: int | None = None) -> Doc:
        """As a route names it."""
        # A Backend has the ports of its endpoints; kgateway asks for one all the same.
        port = {} if self.group == _ENVOY_GATEWAY else {"port": self.port}
        kind = {"group": self.group, "kind": "Backend" if self.group else "Service"}
        return kind | {"name": self.at.name, "namespace": self.at.namespace} | port | _weight(weight)


def _weight(weight: int | None) -> Doc:
    return {} if weight is None else {"weight": weight}


def backends(policy: Policy, target: Target, options: GatewayOptions) -> list[Backend]:
    """The backends of a target. Raises ``SetupError`` for what the gateway can't do."""
    who = f"policy {policy.name}" + (f", version {target.version}" if target.version else "")
    if target.upstream != PLAIN:
        raise SetupError(
            f"{who}: https://, pathRewrite and credentials are not rendered for gateways of the Gateway API; use a "
            "gateway of `extproc render envoy`"
        )
    where = namespace(policy, options)
    apex = service_of(policy.host, where)
    if target.endpoints == (f"{policy.host}:{policy.port}",) and apex is not None:
        return [_of_pods(policy, target, apex, who)]
    return list(_listed(policy, target, where, options, who))


def _of_pods(policy: Policy, target: Target, apex: Service, who: str) -> Backend:
    if not (target.version or target.pool):
        return Backend(apex, policy.port)
    if not policy.selector:
        raise SetupError(f"{who}: nothing tells which pods serve it; give spec.selector.matchLabels, or endpoints")
    named = ((VERSION_LABEL, target.version), (POOL_LABEL, target.pool))
    found = Service(apex.namespace, service_names.label(apex.name, target.version, target.pool))
    selector = dict(policy.selector) | {label: value for label, value in named if value}
    spec = {"selector": selector, "ports": [_port(policy.port)]}
    return Backend(found, policy.port, manifests=(manifest("v1", "Service", found, spec=spec),))


def _port(number: int) -> Doc:
    return {"name": "http", "port": number}


def _listed(policy: Policy, target: Target, where: str, options: GatewayOptions, who: str) -> Iterator[Backend]:
    others: list[tuple[str, int]] = []
    for endpoint in target.endpoints:
        host, port = host_port(endpoint)
        if is_own_machine(host):
            raise SetupError(f"{who}: no gateway reaches {endpoint}; leave endpoints out, or name those in the cluster")
        found = service_of(host, where)
        if found is None:
            others.append((host, port))
        else:
            yield Backend(found, port)
    if not others:
        return
    mine = Service(where, service_names.label(policy.name, target.version, target.pool))
    if options.flavor == "envoy-gateway":
        ends = [backend_endpoint(host, port) for host, port in others]
        made = manifest(f"{_ENVOY_GATEWAY}/v1alpha1", "Backend", mine, spec={"endpoints": ends})
        yield Backend(mine, policy.port, len(others), _ENVOY_GATEWAY, (made,))
    elif options.flavor == "kgateway":
        hosts = [{"host": host, "port": port} for host, port in others]
        spec = {"type": "Static", "static": {"hosts": hosts}}
        made = manifest(f"{_KGATEWAY}/v1alpha1", "Backend", mine, spec=spec)
        yield Backend(mine, policy.port, len(others), _KGATEWAY, (made,))
    elif options.flavor == "plain" and all(is_ip(host) for host, _ in others):
        yield Backend(mine, policy.port, len(others), manifests=tuple(_of_addresses(mine, policy.port, others)))
    else:
        names = ", ".join(host for host, _ in others)
        raise SetupError(f"{who}: {names} is in no Service, and {options.flavor} routes to Services; name Services")


def backend_endpoint(host: str, port: int) -> Doc:
    """An endpoint of Envoy Gateway's ``Backend``, whose CRD takes not every abbreviated IPv6 address."""
    if is_ip(host):
        return {"ip": {"address": ipaddress.ip_address(host).exploded, "port": port}}
    return {"fqdn": {"hostname": host, "port": port}}


def _of_addresses(service: Service, port: int, ends: Sequence[tuple[str, int]]) -> Iterator[Doc]:
    """A Service without a selector, and a slice for each family and port of its addresses."""
    yield manifest("v1", "Service", service, spec={"ports": [_port(port)]})
    kinds = dict.fromkeys((":" in host, number) for host, number in ends)
    for count, (six, number) in enumerate(kinds, 1):
        found = manifest(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            Service(service.namespace, f"{service.name}-{count}"),
            addressType="IPv6" if six else "IPv4",
            ports=[_port(number)],
            endpoints=[{"addresses": [host]} for host, other in ends if ((":" in host), other) == (six, number)],
        )
        found["metadata"]["labels"]["kubernetes.io/service-name"] = service.name
        yield found
