"""All resources of one check together, found by what others name them by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property

from extproc import headers
from extproc.lint.envoy_filter_patches import Patch, Processor, patches
from extproc.lint.manifest import Resource, Value

_OURS = ("x-model-", "x-gpu-", "x-ai-")


def routing(header: str) -> bool:
    """Whether ``header`` is one that a processor sets and routes follow."""
    return header.lower() in headers.ROUTING or header.lower().startswith(_OURS)


def fqdn(host: str, namespace: str) -> str:
    """A host as Istio reads it in a resource of ``namespace``: names without a dot are Services beside it."""
    return host if "." in host or host == "*" or not host else f"{host}.{namespace}.svc.cluster.local"


def covers(pattern: str, host: str) -> bool:
    """Whether ``pattern``, ``*.example.com`` or a whole name, stands for ``host``."""
    return pattern in (host, "*") or (pattern.startswith("*.") and host.endswith(pattern[1:]))


class Mesh:
    """What the files say together."""

    def __init__(self, resources: Sequence[Resource]) -> None:
        self.resources = resources
        self._by_kind: dict[str, list[Resource]] = defaultdict(list)
        for resource in resources:
            self._by_kind[resource.kind].append(resource)

    def of(self, kind: str) -> Sequence[Resource]:
        """All resources of a kind."""
        return self._by_kind.get(kind, ())

    @cached_property
    def patches(self) -> Sequence[Patch]:
        """What all EnvoyFilters change, in the order of the files."""
        return [patch for resource in self.of("EnvoyFilter") for patch in patches(resource)]

    @cached_property
    def processors(self) -> Sequence[Processor]:
        """Every ext_proc filter that is put in."""
        return [p.processor for p in self.patches if p.processor]

    @cached_property
    def filter_names(self) -> frozenset[str]:
        """HTTP filters that EnvoyFilters bring."""
        found = (p.value.at("name").text for p in self.patches if p.apply_to == "HTTP_FILTER" and p.inserts)
        return frozenset(filter(None, found))

    @cached_property
    def added_clusters(self) -> dict[str, Patch]:
        """Clusters that EnvoyFilters bring, by name."""
        added = (p for p in self.patches if p.apply_to == "CLUSTER" and p.operation == "ADD")
        return {name: p for p in added if (name := p.value.at("name").text)}

    def destination_rules(self, host: str) -> list[Resource]:
        """Those whose host is or covers the full name ``host``."""
        rules = self.of("DestinationRule")
        return [r for r in rules if covers(fqdn(r.spec.at("host").text, r.namespace), host)]

    def service(self, host: str) -> Resource | None:
        """The Service with the full name ``host``."""
        return next((s for s in self.of("Service") if fqdn(s.name, s.namespace) == host), None)

    def service_entries(self, host: str) -> list[Resource]:
        """Those that have the full name ``host`` among their hosts."""
        return [s for s in self.of("ServiceEntry") if any(covers(h.text, host) for h in s.spec.at("hosts").items)]

    @cached_property
    def matched_headers(self) -> dict[str, Value]:
        """Routing headers that VirtualServices route by, each with the first place where one does."""
        found: dict[str, Value] = {}
        for service in self.of("VirtualService"):
            for route in service.spec.at("http").items:
                for match in route.at("match").items:
                    for name, place in match.at("headers").named():
                        if routing(name):
                            found.setdefault(name.lower(), place)
        return found
