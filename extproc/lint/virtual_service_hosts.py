"""VirtualService: hosts that two of them have, and names of hosts (in DestinationRules too) that lack their end."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Resource
from extproc.lint.mesh import Mesh, fqdn

TWO_OF_A_HOST = Rule(
    "AIM209",
    "error",
    "two VirtualServices for a host",
    "Sidecars take one of them, the older, and not the other at all; only gateways join the two.",
    "merge them",
)
SHORT_HOST = Rule(
    "AIM215",
    "error",
    "a host that is short of its namespace's suffix",
    "Istio completes names without a dot only; `chat.ai` is to it a host of the Internet, and not the Service chat in "
    "the namespace ai.",
    "write SERVICE.NAMESPACE.svc.cluster.local, or the name alone within its namespace",
)
RULES = (TWO_OF_A_HOST, SHORT_HOST)


def check(mesh: Mesh) -> Iterator[Finding]:
    """Every VirtualService, and the hosts of every DestinationRule."""
    yield from _two_of_a_host(mesh)
    for resource in (*mesh.of("VirtualService"), *mesh.of("DestinationRule")):
        yield from _short_hosts(resource, mesh)


def _two_of_a_host(mesh: Mesh) -> Iterator[Finding]:
    """What sidecars see of the VirtualServices here: those that name no gateway, or ``mesh`` among them."""
    first: dict[str, Resource] = {}
    for service in mesh.of("VirtualService"):
        gateways = [gateway.text for gateway in service.spec.at("gateways").items]
        hidden = [to.text for to in service.spec.at("exportTo").items] == ["."]
        if hidden or (gateways and "mesh" not in gateways):
            continue
        for host in service.spec.at("hosts").items:
            other = first.setdefault(fqdn(host.text, service.namespace), service)
            if other is not service and (other.name, other.namespace) != (service.name, service.namespace):
                yield host.breaks(TWO_OF_A_HOST, f"{other.name} ({other.location}) has routes for {host.text} too")


def _short_hosts(resource: Resource, mesh: Mesh) -> Iterator[Finding]:
    """Hosts that are a Service's name and namespace, and no more."""
    services = {f"{service.name}.{service.namespace}" for service in mesh.of("Service")}
    for value in resource.spec.walk():
        if value.text.removesuffix(".svc") in services and value.path.rpartition(".")[2].partition("[")[0] in (
            "host",
            "hosts",
        ):
            yield value.breaks(SHORT_HOST, f"{value.text} is not the full name of a Service")
