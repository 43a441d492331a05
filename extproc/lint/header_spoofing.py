"""Routing headers that arrive from clients, and whether they count.

Envoy picks a route before any HTTP filter runs, so a client's own header counts unless it is gone by then, and it stays
chosen where the processor is down and requests pass.
"""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.envoy_filter_patches import Patch, Processor, typed
from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Value
from extproc.lint.mesh import Mesh, routing

CLIENT_HEADERS = "ai.istio.io/client-headers"
"""Annotation of an EnvoyFilter: routing headers, separated by commas, that clients may send (a version pin)."""

_EARLY = "early_header_mutation_extensions"
_STRIP = (
    "MERGE early_header_mutation_extensions into the connection manager (applyTo: NETWORK_FILTER), with {remove: NAME} "
    "for each routing header"
)

SPOOFABLE = Rule(
    "AIM151",
    "error",
    "a client's own routing headers are believed",
    "Envoy picks a route by them before the processor is asked; with `failure_mode_allow` that choice stays. So "
    "anybody picks a version, also one that is not meant for them.",
    _STRIP,
)
NOT_STRIPPED = Rule(
    "AIM152",
    "error",
    "a routing header that is not stripped",
    "Others are removed before a route is chosen, this one is not: clients choose by it.",
    f"add it to the early header mutations; where clients may pin it, say so with the annotation {CLIENT_HEADERS}",
)
STRIPPED_LATE = Rule(
    "AIM153",
    "error",
    "routing headers are stripped after a route was chosen",
    "A `header_mutation`, Lua or Wasm filter runs when the route is cached: the header is gone, its choice stays.",
    _STRIP,
)
REMOVED_BY_ROUTE = Rule(
    "AIM154",
    "error",
    "a VirtualService removes a routing header",
    "`headers.request.remove` acts after the route was chosen: it strips nothing that matters, and takes the header "
    "away from the upstream and from metrics. Where EnvoyFilters strip early, it is right on routes that do not go by "
    "the header: nothing claims a version that was not reached.",
    _STRIP,
)
APPENDED = Rule(
    "AIM155",
    "error",
    "a routing header is added to what the client sent",
    "`headers.request.add`, `APPEND_IF_EXISTS_OR_ADD` and `ADD_IF_ABSENT` keep the client's value, which then comes "
    "first or alone.",
    "use headers.request.set (in Envoy OVERWRITE_IF_EXISTS_OR_ADD)",
)
UNGUARDED = Rule(
    "AIM156",
    "warning",
    "routes follow a routing header that nothing here sets or strips",
    "Without a processor and without stripping, `x-model-version` is whatever the client says.",
    "add the EnvoyFilters (extproc render istio makes them), or check these files together with them",
)
RULES = (SPOOFABLE, NOT_STRIPPED, STRIPPED_LATE, REMOVED_BY_ROUTE, APPENDED, UNGUARDED)

_KEEPING_ACTIONS = ("APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT")
_LATE_FILTER = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"


def check(mesh: Mesh) -> Iterator[Finding]:
    """Stripping at the edge, and everything that looks like it."""
    early = [p for p in mesh.patches if p.apply_to == "NETWORK_FILTER" and _mutations(p)]
    routers = [p for p in mesh.processors if p.at_edge and not p.observes and mesh.sees_requests(p)]
    for processor in routers:
        if not any(p.meets(processor.patch) for p in early):
            place = processor.patch.value.at("name")
            yield place.breaks(SPOOFABLE, f"no {_EARLY} on the listeners of this processor")
    if early:
        yield from _not_stripped(mesh, early, routers)
    elif not routers and not mesh.processors:
        for name, place in mesh.matched_headers.items():
            yield place.breaks(UNGUARDED, f"routes follow {name}, which nothing here sets or strips")
    for patch in mesh.patches:
        yield from _late_mutations(patch)
    yield from _virtual_services(mesh, stripped=bool(early))


def _not_stripped(mesh: Mesh, early: list[Patch], routers: list[Processor]) -> Iterator[Finding]:
    """Headers that routes follow and that some listener with a processor does not strip."""
    for name, place in mesh.matched_headers.items():
        for patch in early:
            guards = not routers or any(patch.meets(r.patch) for r in routers)
            if guards and not _removes(patch, name) and name not in _client_headers(patch):
                first = _mutations(patch)[0]
                yield first.breaks(
                    NOT_STRIPPED, f"{name} is not stripped, and {place.file}:{place.node.line} routes by it"
                )


def _mutations(patch: Patch) -> list[Value]:
    """Items of ``mutations`` of early header mutations."""
    extensions = patch.value.at("typed_config", _EARLY).items
    return [m for extension in extensions for m in typed(extension.at("typed_config")).config.at("mutations").items]


def _removes(patch: Patch, header: str) -> bool:
    for mutation in _mutations(patch):
        matcher = mutation.at("remove_on_match", "key_matcher")
        prefix, exact = matcher.at("prefix").text.lower(), matcher.at("exact").text.lower()
        if header in (mutation.at("remove").text.lower(), exact) or (prefix and header.startswith(prefix)):
            return True
    return False


def _client_headers(patch: Patch) -> set[str]:
    text = patch.resource.root.at("metadata", "annotations", CLIENT_HEADERS).text
    return {name.strip().lower() for name in text.split(",")}


def _late_mutations(patch: Patch) -> Iterator[Finding]:
    """Header mutation filters that strip, and mutations anywhere that keep what a client sent."""
    if patch.typed.name == _LATE_FILTER:
        for mutation in patch.config.at("mutations", "request_mutations").items:
            if routing(mutation.at("remove").text):
                yield mutation.breaks(STRIPPED_LATE)
    for value in patch.value.walk():
        if (
            routing(value.at("header", "key").text)
            and "response" not in value.path.lower()
            and _keeps_client_value(value)
        ):
            yield value.breaks(APPENDED)


def _keeps_client_value(option: Value) -> bool:
    """Whether a HeaderValueOption leaves what the client sent; by default it does."""
    action = option.at("append_action")
    return action.text in _KEEPING_ACTIONS or not (action or option.at("append").text == "false")


def _virtual_services(mesh: Mesh, *, stripped: bool) -> Iterator[Finding]:
    """``stripped``: clients' headers are gone before a route is chosen."""
    for service in mesh.of("VirtualService"):
        for route in service.spec.at("http").items:
            followed = {name.lower() for match in route.at("match").items for name, _ in match.at("headers").named()}
            for holder in (route, *route.at("route").items):
                request = holder.at("headers", "request")
                for removed in request.at("remove").items:
                    if routing(removed.text) and (not stripped or removed.text.lower() in followed):
                        yield removed.breaks(REMOVED_BY_ROUTE)
                for name, key in request.at("add").named():
                    if routing(name):
                        yield key.breaks(APPENDED)
