"""Lint rules: parentRefs, and whether Linkerd attaches the route where its author means it."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Resource
from linkerd_adapter.lint.objects import CORE, GATEWAY, POLICY, Given, Parent, Route, parents, service_port

NO_KIND = Rule(
    "LNK101",
    "error",
    "a parentRef has no `kind`",
    "The API server fills in `Gateway`: Linkerd ignores the route, and nothing says so.",
    'write `group: ""` and `kind: Service` (`kind: Gateway` where a gateway is meant)',
)
NO_GROUP = Rule(
    "LNK102",
    "error",
    "a parentRef to a Service has no `group`, or another one than the core group",
    f"The API server fills in `{GATEWAY}`, where there is no Service: Linkerd ignores the route, and nothing says so.",
    'write `group: ""`',
)
NO_PORT = Rule(
    "LNK103",
    "warning",
    "a parentRef to a Service has no `port`",
    "The route counts on every port of the Service, those for metrics and administration too.",
    "write the `port` that requests come to",
)
HEADLESS = Rule(
    "LNK104",
    "error",
    "the parent Service is headless",
    "Linkerd finds routes by the ClusterIP that a client dials; the route gets `NoMatchingParent`.",
    "use a Service with a ClusterIP as the parent",
)
EXTERNAL = Rule(
    "LNK105",
    "error",
    "the parent Service is of type ExternalName",
    "It has no ClusterIP, by which Linkerd finds routes; the route gets `NoMatchingParent`.",
    "use a Service with a ClusterIP as the parent, or an EgressNetwork for hosts outside the cluster",
)
NO_SUCH_PORT = Rule(
    "LNK106",
    "error",
    "the parent Service has no such port",
    "Linkerd's proxy resets every connection to that port.",
    "write a port from the Service's `spec.ports[].port`",
)
KIND = Rule(
    "LNK107",
    "error",
    "a parentRef is of a kind that Linkerd does not know",
    "Linkerd ignores it, and so does every Gateway.",
    "use a Service (group core), a Server or EgressNetwork (group `policy.linkerd.io`), or a Gateway",
)
EGRESS_PORT = Rule(
    "LNK108",
    "error",
    "a parentRef to an EgressNetwork has no `port`",
    "Linkerd's admission webhook refuses the route.",
    "write the `port`",
)
NONE = Rule(
    "LNK109",
    "error",
    "the route has no parentRefs",
    "It is attached to nothing.",
    'write `parentRefs`, with `group: ""`, `kind: Service`, `name` and `port`',
)
UNKNOWN = Rule(
    "LNK110",
    "warning",
    "the parent Service is not here, though other Services of its namespace are",
    "If it is not in the cluster either, the route gets `NoMatchingParent` and counts nowhere.",
    "correct the name or the namespace, or look at the Service's manifest, too",
)
SECTION = Rule(
    "LNK111",
    "warning",
    "a parentRef to a Service has a `sectionName`",
    "Linkerd does not look at it: the route counts on every port, or on `port` where there is one.",
    "name the port by its number, as `port`",
)
MERGED = Rule(
    "LNK113",
    "warning",
    "a consumer route is on the same Service as a route of the Service's own namespace",
    "For clients in the consumer's namespace both count, merged by precedence: neither overrides the other.",
    "make the matches of the two distinct, or keep one of them",
)
NO_NAMESPACE = Rule(
    "LNK114",
    "warning",
    "the route has no `metadata.namespace`, while its parentRef has one",
    "Applied in the parent's namespace it counts for all clients, in any other for the clients of that one only.",
    "write `metadata.namespace`",
)
BARE = Rule(
    "LNK115",
    "warning",
    "a parentRef is a name only",
    "It means a Gateway, which is none of Linkerd's: nothing else of this route is looked at.",
    'where a Service is meant, write `group: ""`, `kind: Service` and `port`; else write `kind: Gateway`',
)
RULES = (
    *(NO_KIND, NO_GROUP, NO_PORT, HEADLESS, EXTERNAL, NO_SUCH_PORT, KIND, EGRESS_PORT, NONE, UNKNOWN, SECTION),
    *(MERGED, NO_NAMESPACE, BARE),
)


def check(given: Given) -> Iterator[Finding]:
    """Everything about parents."""
    for resource in given.all_routes:
        yield from _route(resource, given)
    for route in given.routes:
        for target in route.targets:
            yield from _written(target)
            yield from _service(target, given)
        yield from _namespaces(route, given)


def _route(resource: Resource, given: Given) -> Iterator[Finding]:
    found = parents(resource)
    if not found and not resource.root.at("spec", "useDefaultGateways"):
        yield resource.spec.breaks(NONE)
    for parent in found:
        if parent.of(POLICY, "Server"):
            continue
        if parent.of(POLICY, "EgressNetwork"):
            if parent.port is None:
                yield parent.place.breaks(EGRESS_PORT)
        elif given.is_meant(parent):
            continue
        elif parent.bare:
            if parent.name not in given.gateways and not parent.beside:
                yield parent.place.breaks(BARE)
        elif (parent.kind or "Gateway") not in ("Gateway", "ListenerSet", "XListenerSet"):
            yield parent.place.breaks(KIND, f"a parentRef is of kind {parent.kind}, which Linkerd does not know")


def _written(target: Parent) -> Iterator[Finding]:
    if target.kind is None:
        yield target.place.breaks(NO_KIND)
    elif target.group is None or target.group.lower() not in CORE:
        yield target.place.breaks(NO_GROUP)
    if section := target.place.at("sectionName"):
        yield section.breaks(SECTION)


def _service(target: Parent, given: Given) -> Iterator[Finding]:
    service = given.services.get(target.key)
    if service is None:
        if target.namespace in given.service_namespaces:
            yield target.place.breaks(
                UNKNOWN, f"the Service {target.name} is not here, though others of its namespace are"
            )
        if target.port is None:
            yield target.place.breaks(NO_PORT)
        return
    if service.spec.at("clusterIP").text == "None":
        yield target.place.breaks(HEADLESS)
    elif service.spec.at("type").text == "ExternalName":
        yield target.place.breaks(EXTERNAL)
    elif target.port is not None:
        if service_port(service, target.port) is None:
            yield target.place.breaks(NO_SUCH_PORT, f"the Service {target.name} has no port {target.port}")
    elif len(ports := service.spec.at("ports").items) > 1:
        yield target.place.breaks(NO_PORT, f"a parentRef to a Service with {len(ports)} ports has no `port`")


def _namespaces(route: Route, given: Given) -> Iterator[Finding]:
    for target in route.targets:
        if not route.namespace and target.place.at("namespace"):
            yield route.resource.root.breaks(NO_NAMESPACE)
        if target.namespace == route.namespace or not route.namespace:
            continue
        producers = (r for r in given.on.get(target.key, ()) if r.namespace == target.namespace)
        if any(target.port is None or r.on(target.key, target.port) for r in producers):
            yield target.place.breaks(
                MERGED, f"the routes of {target.namespace} on this Service count beside this consumer route"
            )
