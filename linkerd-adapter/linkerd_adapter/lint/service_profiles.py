"""Lint rules: ServiceProfiles that mask routes or are not read, and their timeouts and retries."""

from __future__ import annotations

import re
from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Resource, Value
from extproc.yamldoc import Items, quoted
from linkerd_adapter.lint import regexes
from linkerd_adapter.lint.objects import Given, Key

PROFILE = Rule(
    "LNK505",
    "error",
    "a ServiceProfile masks the routes of a Service",
    "Where a profile has routes or dstOverrides, Linkerd looks at no HTTPRoute or GRPCRoute. One in the Service's "
    "namespace counts for all clients, one in another for the clients of that one. Clients that are at work already "
    "follow it only once their discovery has idled: the routes stop to count later, all of a sudden.",
    "delete the ServiceProfile",
)
PROFILE_OVER_ANNOTATIONS = Rule(
    "LNK507",
    "warning",
    "a Service with a ServiceProfile has annotations for retries or timeouts",
    "Where there is a ServiceProfile with routes or dstOverrides, they are ignored.",
    "delete the ServiceProfile, or configure retries and timeouts in it",
)
NAME = Rule(
    "LNK513",
    "error",
    "the name of a ServiceProfile is not the full name of a Service",
    "Linkerd looks for `<service>.<namespace>.svc.<cluster domain>`, and ignores the profile.",
    "write the whole name, as in `llm.ai.svc.cluster.local`",
)
OPAQUE_LIST = Rule(
    "LNK514",
    "error",
    "a ServiceProfile has `opaquePorts` as a list",
    "Its CRD wants a list, and Linkerd's destination controller can't read one: its watch of ServiceProfiles fails, "
    "for the whole cluster.",
    "remove the field, and annotate the Service with `config.linkerd.io/opaque-ports`",
)
SLOW = Rule(
    "LNK612",
    "warning",
    "the timeout of a ServiceProfile's route ends slow answers",
    "It runs until an answer begins, retries included, and then Linkerd answers 504. An answer that isn't streamed "
    "begins when the model has written all of it.",
    "remove the `timeout`, or make it longer than the longest answer takes",
)
REPEATED = Rule(
    "LNK613",
    "warning",
    "a ServiceProfile repeats requests that are not safe to repeat",
    "A POST that failed is sent to another pod, where it did not exceed 64 KiB: the same inference runs twice.",
    "remove `isRetryable`, or keep it to routes of GET",
)
VALUE = Rule(
    "LNK614",
    "error",
    "a ServiceProfile has a value that Linkerd can't read",
    "Linkerd's admission webhook refuses the profile; where it doesn't run, the value has no effect.",
    "write it as Linkerd reads it",
)
RULES = (PROFILE, PROFILE_OVER_ANNOTATIONS, NAME, OPAQUE_LIST, SLOW, REPEATED, VALUE)

_GO_DURATION = re.compile(r"[-+]?(?:0|(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+)")
"""What Go's ``time.ParseDuration`` reads."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def check(given: Given) -> Iterator[Finding]:
    """Every ServiceProfile."""
    for profile in given.of("ServiceProfile", "linkerd.io"):
        yield from _masked(profile, given)
        yield from _name(profile, given)
        opaque = profile.spec.at("opaquePorts")
        if opaque and isinstance(opaque.node, Items):
            yield opaque.breaks(OPAQUE_LIST)
        for route in profile.spec.at("routes").items:
            yield from _route(route)
        yield from _budget(profile.spec.at("retryBudget"))


def service_of(profile: Resource) -> Key:
    """The Service that a profile's name means, if it is one's."""
    name, _, rest = profile.name.partition(".")
    return rest.partition(".")[0] or profile.namespace, name


def masks(profile: Resource) -> Value | None:
    """What in a profile keeps Linkerd from looking at routes and annotations; None where nothing does."""
    found = (profile.spec.at(field) for field in ("routes", "dstOverrides"))
    return next((at for at in found if at and isinstance(at.node, Items) and at.node.items), None)


def _masked(profile: Resource, given: Given) -> Iterator[Finding]:
    service = service_of(profile)
    at = masks(profile)
    if at is None:
        return
    whose = "" if profile.namespace == service[0] else f" for clients in {profile.namespace or 'its namespace'}"
    if given.is_parent(service):
        yield at.breaks(PROFILE, f"this ServiceProfile masks the routes of the Service {service[1]}{whose}")
    annotated = given.services.get(service) if not whose else None
    for key, place in annotated.annotations.items() if annotated else ():
        if key.startswith(("retry.linkerd.io/", "timeout.linkerd.io/")):
            yield place.breaks(PROFILE_OVER_ANNOTATIONS)


def _name(profile: Resource, given: Given) -> Iterator[Finding]:
    """Names of hosts outside the cluster are left alone: anything that is nobody's Service and has three labels."""
    labels = profile.name.split(".")
    if len(labels) > 3 and labels[2] == "svc":
        return
    if len(labels) < 3 or labels[2] == "svc" or service_of(profile) in given.services:
        full_name = f"{labels[0]}.{service_of(profile)[0] or 'NAMESPACE'}.svc.cluster.local"
        at = profile.root.at("metadata", "name") or profile.root
        yield at.breaks(NAME, f"{quoted(profile.name)} is not the full name of a Service", f"write `{full_name}`")


def _route(route: Value) -> Iterator[Finding]:
    if timeout := route.at("timeout"):
        text = timeout.text
        if not _GO_DURATION.fullmatch(text):
            message = f"{quoted(text)} is no duration: a number without a unit" if text.isdecimal() else ""
            yield timeout.breaks(VALUE, message or f"{quoted(text)} is no duration", "write it with a unit, as in 25s")
        elif set(re.sub(r"[^0-9]", "", text)) != {"0"}:
            yield timeout.breaks(SLOW)
    condition = route.at("condition")
    for pattern in _patterns(condition) if condition else ():
        if fault := regexes.fault(pattern.text):
            yield pattern.breaks(VALUE, f"{quoted(pattern.text)} is no regular expression of Rust's: {fault}")
    retryable = route.at("isRetryable")
    if retryable and retryable.text == "true" and not (condition and _methods(condition) <= SAFE):
        yield retryable.breaks(REPEATED)


def _patterns(condition: Value) -> Iterator[Value]:
    if pattern := condition.at("pathRegex"):
        yield pattern
    for inner in _within(condition):
        yield from _patterns(inner)


def _methods(condition: Value) -> frozenset[str]:
    """The methods of which a request must have one; a set with an empty text where any will do."""
    if method := condition.at("method").text:
        return frozenset({method.upper()})
    every = [found for inner in condition.at("all").items if "" not in (found := _methods(inner))]
    if every:
        return every[0]
    some = [_methods(inner) for inner in condition.at("any").items]
    return frozenset[str]().union(*some) if some else frozenset({""})


def _within(condition: Value) -> Iterator[Value]:
    for key in ("all", "any"):
        yield from condition.at(key).items
    if inner := condition.at("not"):
        yield inner


def _budget(budget: Value) -> Iterator[Finding]:
    if not budget:
        return
    ttl = budget.at("ttl")
    if not ttl:
        yield budget.breaks(VALUE, "a retry budget has no `ttl`", "write it, as in `ttl: 10s`")
    elif not _GO_DURATION.fullmatch(ttl.text):
        yield ttl.breaks(VALUE, f"{quoted(ttl.text)} is no duration", "write it with a unit, as in 10s")
    ratio = budget.at("retryRatio")
    if ratio and not re.fullmatch(r"[0-9]*\.?[0-9]*(?:[eE][-+]?[0-9]+)?", ratio.text or "-"):
        yield ratio.breaks(VALUE, f"{quoted(ratio.text)} is no ratio", "write a number from 0 on, as in 0.2")
