"""Lint rules: the fields of routes in Gateway API 1.2.1, their types and limits, and fields that are newer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Resource, Value
from extproc.yamldoc import Items, Mapping, Scalar, quoted
from linkerd_adapter.lint.objects import GATEWAY, POLICY, Given, Route
from linkerd_adapter.lint.route_filters import SUPPORTED, VOIDING

TYPE = Rule(
    "LNK003",
    "error",
    "a field has a value of the wrong type",
    "The API server refuses the route.",
    "write the type that the field has; texts that look like numbers or yes and no need quotes",
)
FIELD = Rule(
    "LNK004",
    "error",
    "routes have no such field",
    "The API server drops it, and what it should do isn't done.",
    "correct its name or its place",
)
NEWER = Rule(
    "LNK005",
    "warning",
    "a field is newer than Gateway API 1.2.1",
    "Linkerd does not know it. With the CRDs that Linkerd ships it is dropped; with newer ones Linkerd may fail to "
    "parse the route, and then ignores it.",
    "use the fields of 1.2.1 only",
)
IGNORED = Rule(
    "LNK006",
    "warning",
    "Linkerd does not do what a field asks for",
    "`retry` and `sessionPersistence` are ignored.",
    "for retries use the annotations `retry.linkerd.io/*`; stickiness must be in a header before Linkerd's proxy",
)
LIMIT = Rule(
    "LNK007",
    "error",
    "a limit of the API is passed",
    "The CRDs that Linkerd ships refuse the route.",
    "split the route: all routes on a Service count together",
)
UNMAINTAINED = Rule(
    "LNK008",
    "warning",
    f"an HTTPRoute of `{POLICY}`",
    "That API is not actively maintained, has fewer filters, and its older versions lack weights and timeouts.",
    f"use `{GATEWAY}/v1`; its fields are the same",
)
TOO_OLD = Rule(
    "LNK009",
    "error",
    f"this version of `{POLICY}` does not have the field",
    "The API server drops it: `weight` of backends needs v1beta2, `timeouts` v1beta3.",
    f"use `{GATEWAY}/v1`",
)
VERSION = Rule(
    "LNK010",
    "warning",
    f"an old version of `{GATEWAY}`",
    "Newer CRDs serve it no longer.",
    f"write `{GATEWAY}/v1`",
)
RULES = (TYPE, FIELD, NEWER, IGNORED, LIMIT, UNMAINTAINED, TOO_OLD, VERSION)

Shape: TypeAlias = "str | dict[str, Shape] | tuple[Shape, int]"
"""``text``, ``number``, ``newer``, ``ignored``, a mapping, or (a list's items, how many at most)."""

_HEADER: dict[str, Shape] = {"type": "text", "name": "text", "value": "text"}
_SET: dict[str, Shape] = {"name": "text", "value": "text"}
_MODIFIER: dict[str, Shape] = {"set": (_SET, 16), "add": (_SET, 16), "remove": ("text", 16)}
_REF: dict[str, Shape] = {"group": "text", "kind": "text", "name": "text", "namespace": "text", "port": "number"}
_PATH: dict[str, Shape] = {"type": "text", "replaceFullPath": "text", "replacePrefixMatch": "text"}
_GRPC_FILTER: dict[str, Shape] = {
    "type": "text",
    "requestHeaderModifier": _MODIFIER,
    "responseHeaderModifier": _MODIFIER,
    "requestMirror": {"backendRef": _REF, "percent": "newer", "fraction": "newer"},
    "extensionRef": {"group": "text", "kind": "text", "name": "text"},
}
_HTTP_FILTER: dict[str, Shape] = {
    **_GRPC_FILTER,
    "requestRedirect": {
        **dict.fromkeys(("scheme", "hostname"), "text"),
        **dict.fromkeys(("port", "statusCode"), "number"),
        "path": _PATH,
    },
    "urlRewrite": {"hostname": "text", "path": _PATH},
    "cors": "newer",
    "externalAuth": "newer",
}
_PARENT: dict[str, Shape] = {**_REF, "sectionName": "text"}


def _spec(match: dict[str, Shape], filtered: dict[str, Shape], more: dict[str, Shape]) -> dict[str, Shape]:
    rule: dict[str, Shape] = {
        "name": "newer",
        "matches": (match, 8),
        "filters": (filtered, 16),
        "backendRefs": ({**_REF, "weight": "number", "filters": (filtered, 16)}, 16),
        "sessionPersistence": "ignored",
        **more,
    }
    return {
        "parentRefs": (_PARENT, 32),
        "hostnames": ("text", 16),
        "rules": (rule, 16),
        "useDefaultGateways": "newer",
    }


SPECS: dict[str, dict[str, Shape]] = {
    "HTTPRoute": _spec(
        {
            "path": {"type": "text", "value": "text"},
            "headers": (_HEADER, 16),
            "queryParams": (_HEADER, 16),
            "method": "text",
        },
        _HTTP_FILTER,
        {"timeouts": {"request": "text", "backendRequest": "text"}, "retry": "ignored"},
    ),
    "GRPCRoute": _spec(
        {"method": {"type": "text", "service": "text", "method": "text"}, "headers": (_HEADER, 16)},
        _GRPC_FILTER,
        {},
    ),
}
MAX_WEIGHT = 1_000_000


def check(given: Given) -> Iterator[Finding]:
    """Everything about fields, of routes that are meant for Services."""
    for route in given.routes:
        yield from _walk(route.resource.spec, SPECS[route.resource.kind])
        for rule in route.rules:
            for weight in (backend.at("weight") for backend in rule.at("backendRefs").items):
                if weight and weight.integer is not None and not 0 <= weight.integer <= MAX_WEIGHT:
                    yield weight.breaks(LIMIT, f"a weight is from 0 to {MAX_WEIGHT}", "scale the weights of the rule")
        yield from _version(route, route.resource)


def _version(route: Route, resource: Resource) -> Iterator[Finding]:
    at = resource.root.at("apiVersion") or resource.root
    if resource.group == GATEWAY:
        if resource.version != "v1":
            yield at.breaks(VERSION)
        return
    yield at.breaks(UNMAINTAINED)
    for rule in route.rules:
        if resource.version != "v1beta3" and (timeouts := rule.at("timeouts")):
            yield timeouts.breaks(TOO_OLD, f"{resource.version} has no timeouts")
        if resource.version in ("v1alpha1", "v1beta1"):
            for backend in rule.at("backendRefs").items:
                if weight := backend.at("weight"):
                    yield weight.breaks(TOO_OLD, f"{resource.version} has no weights")


def _walk(place: Value, shape: Shape) -> Iterator[Finding]:
    match shape:
        case dict():
            yield from _fields(place, shape)
        case (inner, most):
            if not isinstance(place.node, Items):
                yield place.breaks(TYPE, "must be a list")
            elif len(place.node.items) > most:
                yield place.breaks(LIMIT, f"{len(place.node.items)} entries, where {most} are allowed")
            for item in place.items:
                yield from _walk(item, inner)
        case "newer":
            yield place.breaks(NEWER)
        case "ignored":
            yield place.breaks(IGNORED)
        case _:
            yield from _scalar(place, "int" if shape == "number" else "str")


def _fields(place: Value, shape: dict[str, Shape]) -> Iterator[Finding]:
    if not isinstance(place.node, Mapping):
        yield place.breaks(TYPE, "must be a mapping")
    if (shape is _HTTP_FILTER or shape is _GRPC_FILTER) and place.at("type").text not in SUPPORTED | VOIDING:
        return  # `route_filters` has a finding for its type, whatever its fields
    for key, inner in place.entries.items():
        if key in shape:
            yield from _walk(inner, shape[key])
        else:
            yield inner.breaks(FIELD, f"routes have no field {quoted(key)} here")


def _scalar(place: Value, tag: str) -> Iterator[Finding]:
    kind = "a number" if tag == "int" else "a text"
    if not isinstance(place.node, Scalar):
        yield place.breaks(TYPE, f"must be {kind}")
    elif place.node.tag not in (tag, "timestamp" if tag == "str" else tag):
        remedy = f"write {place.node.text}" if tag == "int" else f'write "{place.node.text}", in quotes'
        yield place.breaks(TYPE, f"{quoted(place.node.text)} must be {kind}", remedy)
