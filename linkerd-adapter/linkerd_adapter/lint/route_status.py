"""Lint rules: what the status of a live route reports."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Value
from extproc.yamldoc import quoted
from linkerd_adapter.lint.objects import CORE, Given, Parent

NO_PARENT = Rule(
    "LNK701",
    "error",
    "Linkerd found no such parent (`NoMatchingParent`)",
    "The route counts nowhere.",
    "correct the parentRef's namespace, name and port; the Service needs a ClusterIP",
)
CONFLICTED = Rule(
    "LNK702",
    "error",
    "Linkerd turned the route off for another kind of route (`RouteReasonConflicted`)",
    "A GRPCRoute on the same Service and port goes before it: the route counts nowhere.",
    "route all by HTTPRoutes, or put gRPC on a port of its own",
)
NO_BACKEND = Rule(
    "LNK703",
    "error",
    "Linkerd found no such backend (`BackendNotFound`)",
    "Its share of the requests gets 500.",
    "correct the backendRef's namespace and name, or make the Service",
)
INVALID_KIND = Rule(
    "LNK704",
    "error",
    "a backend is of a kind that Linkerd does not know (`InvalidKind`)",
    "Its share of the requests gets 500.",
    'use `kind: Service` with `group: ""`',
)
OTHER = Rule(
    "LNK705",
    "error",
    "Linkerd did not take the route",
    "A condition of its status is False.",
    "look at the reason and the message",
)
NO_STATUS = Rule(
    "LNK706",
    "warning",
    "the route is live, and no controller has said anything of it and this Service",
    "Routes count only once they are accepted; whose word it is does not matter.",
    "see that Linkerd's policy controller runs, and that the parentRef is one of a Service",
)
RULES = (NO_PARENT, CONFLICTED, NO_BACKEND, INVALID_KIND, OTHER, NO_STATUS)

CONTROLLER = "linkerd.io/policy-controller"
REASONS = {
    "NoMatchingParent": NO_PARENT,
    "RouteReasonConflicted": CONFLICTED,
    "BackendNotFound": NO_BACKEND,
    "InvalidKind": INVALID_KIND,
}


def check(given: Given) -> Iterator[Finding]:
    """Findings on statuses. Linkerd sets no observedGeneration: a status may be about an older version of a route."""
    for route in given.routes:
        place = route.resource.root
        if not place.at("metadata", "resourceVersion") and not place.at("status"):
            continue  # a manifest, not what a cluster has made of it
        own = [s for s in place.at("status", "parents").items if s.at("controllerName").text == CONTROLLER]
        for status in own:
            yield from _conditions(status)
        for target in route.targets:
            if _rightly_written(target) and not any(_is_of(s, target) for s in place.at("status", "parents").items):
                yield target.place.breaks(NO_STATUS)


def _rightly_written(target: Parent) -> bool:
    return target.kind is not None and target.group is not None and target.group.lower() in CORE


def _conditions(status: Value) -> Iterator[Finding]:
    for condition in status.at("conditions").items:
        if condition.at("status").text != "False":
            continue
        reason, message = condition.at("reason").text, condition.at("message").text
        rule = REASONS.get(reason, OTHER)
        said = f"Linkerd says {condition.at('type').text} False, {reason or 'without a reason'}"
        yield condition.breaks(rule, f"{said}: {quoted(message)}" if message else said)


def _is_of(status: Value, target: Parent) -> bool:
    """Whether a status is about ``target``, by kind, name and port; Linkerd does not compare namespaces."""
    parent = status.at("parentRef")
    if parent.at("kind").text.lower() != "service":
        return False
    return parent.at("name").text == target.name and parent.at("port").integer in (None, target.port)
