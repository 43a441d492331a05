"""The resources in files, as Linkerd would see them: routes and their parents, Services, profiles, workloads."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TypeAlias

import msgspec

from extproc.lint import manifest
from extproc.lint.findings import Finding, Rule, of_problem
from extproc.lint.manifest import Resource, Value
from extproc.yamldoc import Mapping

UNREADABLE = Rule(
    "LNK001",
    "error",
    "the file is no YAML that can be read",
    "Nothing after that place is looked at.",
    "correct the YAML",
)
NO_OBJECT = Rule(
    "LNK002",
    "warning",
    "a document is no Kubernetes object: it has no `apiVersion` or no `kind`",
    "It is not looked at, and `kubectl apply` refuses it.",
    "write `apiVersion` and `kind`, or leave the file out",
)
RULES = (UNREADABLE, NO_OBJECT)

GATEWAY = "gateway.networking.k8s.io"
POLICY = "policy.linkerd.io"
CORE = frozenset({"", "core"})
"""How the group of a Service is written in references."""

NO_NAMESPACE = ""
"""Of manifests that leave it to kubectl, whose namespace is not known here."""

Key: TypeAlias = tuple[str, str]
"""(namespace, name); the namespace is empty where a manifest leaves it to kubectl."""


class Parent(msgspec.Struct, frozen=True):
    """One ``parentRef`` of a route."""

    place: Value
    namespace: str
    """Where the parent is: the route's namespace unless it says otherwise."""
    beside: bool = False
    """Whether the route also names a Service of this name, rightly written: then one without a kind is a Gateway."""

    @property
    def name(self) -> str:
        """Empty where there is none."""
        return self.place.at("name").text

    @property
    def key(self) -> Key:
        """Of the Service that is meant."""
        return self.namespace, self.name

    @property
    def kind(self) -> str | None:
        """None where it isn't written; the API server then fills in ``Gateway``."""
        return _text(self.place.at("kind"))

    @property
    def group(self) -> str | None:
        """None where it isn't written; the API server then fills in Gateway's."""
        return _text(self.place.at("group"))

    @property
    def port(self) -> int | None:
        """None: every port."""
        return self.place.at("port").integer

    def of(self, group: str, kind: str) -> bool:
        """Whether it is of this kind, which Linkerd compares without regard to case."""
        return (self.group or "").lower() == group.lower() and (self.kind or "").lower() == kind.lower()

    @property
    def bare(self) -> bool:
        """Whether it is a name only, as routes of Gateways have it."""
        return self.kind is None and self.group is None


class Route(msgspec.Struct, frozen=True):
    """An HTTPRoute or GRPCRoute."""

    resource: Resource
    targets: tuple[Parent, ...]
    """Its parents that are meant to be Services: for these Linkerd's client-side proxies follow it."""

    @property
    def grpc(self) -> bool:
        """Whether it is a GRPCRoute."""
        return self.resource.kind == "GRPCRoute"

    @property
    def rules(self) -> list[Value]:
        """In the order of the manifest."""
        return self.resource.spec.at("rules").items

    @property
    def namespace(self) -> str:
        """Its own, not its parents'."""
        return self.resource.namespace

    def on(self, service: Key, port: int | None) -> bool:
        """Whether it says where requests to this port of this Service go. ``port`` None: to ports that none names."""
        return any(target.key == service and target.port in (None, port) for target in self.targets)


class Given:
    """Everything that was given, to be judged together."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self.resources = tuple(resources)

    def of(self, kind: str, *groups: str) -> list[Resource]:
        """All of a kind, of the API groups given."""
        return [r for r in self.resources if r.kind == kind and r.group in groups]

    @cached_property
    def services(self) -> dict[Key, Resource]:
        """Of one name, the last."""
        return {service.key: service for service in self.of("Service", "")}

    @cached_property
    def namespaces(self) -> dict[str, Resource]:
        """By name."""
        return {namespace.name: namespace for namespace in self.of("Namespace", "")}

    @cached_property
    def config_maps(self) -> dict[Key, Resource]:
        """Of one name, the last."""
        return {config.key: config for config in self.of("ConfigMap", "")}

    @cached_property
    def ready(self) -> dict[Key, bool]:
        """Whether a Service has a ready endpoint, of those whose EndpointSlices are here."""
        ready: dict[Key, bool] = {}
        for part in self.of("EndpointSlice", "discovery.k8s.io"):
            key = part.namespace, part.root.at("metadata", "labels", "kubernetes.io/service-name").text
            some = any(end.at("conditions", "ready").text != "false" for end in part.root.at("endpoints").items)
            ready[key] = some or ready.get(key, False)
        return ready

    @cached_property
    def service_namespaces(self) -> frozenset[str]:
        """Whose Services are here, all of them or at least some."""
        return frozenset(namespace for namespace, _ in self.services)

    @cached_property
    def all_routes(self) -> list[Resource]:
        """Those of Gateways and of Servers, too."""
        return [*self.of("HTTPRoute", GATEWAY, POLICY), *self.of("GRPCRoute", GATEWAY)]

    @cached_property
    def routes(self) -> list[Route]:
        """Those that are meant for Services."""
        routes = (Route(resource, tuple(filter(self.is_meant, parents(resource)))) for resource in self.all_routes)
        return [route for route in routes if route.targets]

    @cached_property
    def gateways(self) -> frozenset[str]:
        """The names of those that are here."""
        return frozenset(gateway.name for gateway in self.of("Gateway", GATEWAY))

    def is_meant(self, parent: Parent) -> bool:
        """Whether the author means a Service, rightly written or not. A bare name with a port is none of a Gateway."""
        if parent.bare and not parent.beside:
            return parent.name not in self.gateways and (parent.key in self.services or parent.port is not None)
        if parent.kind is None:
            return not parent.beside and (parent.group or "").lower() in CORE
        return parent.kind.lower() == "service"

    @cached_property
    def on(self) -> dict[Key, list[Route]]:
        """Each Service that a route names, with all that name it: of one name, the last."""
        on: dict[Key, list[Route]] = {}
        for route in {(r.resource.group, r.resource.kind, r.resource.key): r for r in self.routes}.values():
            for key in dict.fromkeys(target.key for target in route.targets):
                on.setdefault(key, []).append(route)
        return on

    @cached_property
    def targets(self) -> dict[tuple[Key, int | None], list[Route]]:
        """Each Service and port that a route names, with the routes that count there."""
        named = dict.fromkeys((t.key, t.port) for routes in self.on.values() for route in routes for t in route.targets)
        return {(key, port): [route for route in self.on[key] if route.on(key, port)] for key, port in named}

    @cached_property
    def _ports(self) -> dict[Key, set[int | None]]:
        """Of each Service with routes, the ports that they name; None: all."""
        ports: dict[Key, set[int | None]] = {}
        for key, port in self.targets:
            ports.setdefault(key, set()).add(port)
        return ports

    def is_parent(self, service: Key, port: int | None = None) -> bool:
        """Whether a route is on this Service, at this port or at any."""
        ports = self._ports.get(service, set())
        return bool(ports) if port is None else not ports.isdisjoint((None, port))

    @cached_property
    def backends(self) -> frozenset[Key]:
        """The Services to which routes send requests."""
        return frozenset(
            (backend.at("namespace").text or route.namespace, backend.at("name").text)
            for route in self.routes
            for rule in route.rules
            for backend in rule.at("backendRefs").items
        )


def service_port(service: Resource, number: int) -> Value | None:
    """The entry of this port of a Service."""
    return next((port for port in service.spec.at("ports").items if port.at("port").integer == number), None)


def parents(resource: Resource) -> list[Parent]:
    """All that a route names."""
    refs = resource.spec.at("parentRefs").items
    found = [Parent(place, place.at("namespace").text or resource.namespace) for place in refs]
    services = {parent.key for parent in found for group in CORE if parent.of(group, "Service")}
    return [Parent(parent.place, parent.namespace, parent.key in services) for parent in found]


def read(file: str, text: str) -> tuple[list[Resource], list[Finding]]:
    """The resources in a file of YAML or JSON, those in Lists too, and what hinders reading it. Never raises."""
    documents, problems = manifest.documents(file, text)
    findings = [of_problem(problem, UNREADABLE.code) for problem in problems]
    resources: list[Resource] = []
    for document in documents:
        found = [r for r in manifest.resources(document, NO_NAMESPACE) if r.api_version and r.kind]
        if not found and not isinstance(document.node, Mapping):
            findings.append(document.breaks(NO_OBJECT, "a document is no mapping"))
        elif not found and not manifest.is_list(document):
            findings.append(document.breaks(NO_OBJECT))
        resources += found
    return resources, findings


def _text(value: Value) -> str | None:
    return value.text if value else None
