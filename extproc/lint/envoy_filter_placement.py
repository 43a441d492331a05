"""EnvoyFilter: onto which proxies it goes, and where in their filter chains."""

from __future__ import annotations

import re
from collections.abc import Iterator

from extproc.lint import re2_regex
from extproc.lint.envoy_filter_patches import HCM, ROUTER, Patch, Processor
from extproc.lint.extension_filters import extension_of
from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Resource, Value
from extproc.lint.mesh import Mesh

CHAIN = (
    "istio.metadata_exchange",
    "envoy.filters.http.ext_authz",
    "envoy.filters.http.jwt_authn",
    "envoy.filters.http.rbac",
    "envoy.filters.http.ext_proc",
    "envoy.filters.http.grpc_web",
    "envoy.filters.http.grpc_stats",
    "istio.alpn",
    "envoy.filters.http.fault",
    "envoy.filters.http.cors",
    "istio.stats",
    "envoy.filters.http.stateful_session",
    "envoy.filters.http.dynamic_forward_proxy",
    ROUTER,
)
"""HTTP filters in the order in which Istio puts them (istio/istio, pilot/pkg/networking/core/listener_builder.go)."""
ALWAYS = ("envoy.filters.http.grpc_stats", "envoy.filters.http.fault", "envoy.filters.http.cors", ROUTER)
"""Those that every sidecar, gateway and waypoint has; the others come with a policy, a provider or a setting."""
AFTER_AUTHENTICATION = CHAIN.index("envoy.filters.http.rbac")
BEFORE_ROUTE_IS_USED = CHAIN.index("istio.alpn")

_VERSIONS = tuple(f"1.{minor}.{patch}" for minor in range(20, 40) for patch in (0, 3, 10))
_REFERENCED = "envoyfilter.istio.io/referenced-services"
_ANCHOR = "anchor on envoy.filters.http.grpc_stats with INSERT_BEFORE"

FILTER_CLASS = Rule(
    "AIM101",
    "error",
    "`filterClass` does nothing",
    "The API's text calls it the preferred way, but no istiod reads it: the filter goes to the end of the chain.",
    "remove it, and " + _ANCHOR,
)
ADD = Rule(
    "AIM102",
    "error",
    "`ADD` puts an HTTP filter after the router",
    "The router must be the last filter: Envoy refuses the whole listener, and goes on with its old one or with none. "
    "`INSERT_AFTER` without a `subFilter`, and one after the router, do the same.",
    _ANCHOR,
)
LATE = Rule(
    "AIM103",
    "error",
    "a processor that routes stands after filters that have used the old route",
    "`istio.alpn`, `fault` and `cors` run before it with the route of the original request; the most copied place, "
    "right before the router, is one of these.",
    _ANCHOR,
)
EARLY = Rule(
    "AIM104",
    "error",
    "a processor stands before authentication",
    "`INSERT_FIRST`, `INSERT_BEFORE` without a `subFilter`, and places before `jwt_authn` and `rbac` show it "
    "requests of anybody, and let anybody occupy it.",
    _ANCHOR,
)
NO_ANCHOR = Rule(
    "AIM105",
    "error",
    "no proxy has the filter beside which it is to stand",
    "Where the anchor is missing nothing is inserted, and nothing says so but istiod's metric "
    "`pilot_envoy_filter_status`. Names are compared to the letter; old ones as `envoy.router` match nothing.",
    _ANCHOR,
)
RARE_ANCHOR = Rule(
    "AIM106",
    "warning",
    "only some proxies have the filter beside which it is to stand",
    "`jwt_authn`, `rbac` and `ext_authz` come with a policy for the workload, `istio.alpn` not on inbound listeners, "
    "`istio.stats` with a metrics provider. Where the anchor is missing nothing is inserted.",
    _ANCHOR,
)
SUB_FILTER = Rule(
    "AIM107",
    "error",
    "`subFilter` without the connection manager around it",
    "istiod refuses the EnvoyFilter: a `subFilter` is allowed with `applyTo: HTTP_FILTER` and below "
    f"`filter: {{name: {HCM}}}` only.",
    f"write filter: {{name: {HCM}, subFilter: …}}",
)
BOTH_SELECTORS = Rule(
    "AIM108",
    "error",
    "both `workloadSelector` and `targetRefs`",
    "They exclude each other: the API server refuses it.",
    "keep targetRefs for gateways of the Gateway API and waypoints, workloadSelector for sidecars and classic gateways",
)
NO_SELECTOR = Rule(
    "AIM109",
    "warning",
    "a processor for every workload of the namespace",
    "That includes the processor's own sidecar: each call of the processor then calls the processor. "
    "In the root namespace it is the whole mesh.",
    "select the workloads (workloadSelector, targetRefs), or switch the filter on per host (disabled: true)",
)
NO_CONTEXT = Rule(
    "AIM110",
    "warning",
    "no `context`",
    "It then goes into inbound, outbound and gateway listeners alike; a `CLUSTER` with `ADD` reaches outbound "
    "clusters of sidecars and gateways only, never the inbound ones.",
    "state match.context: GATEWAY, SIDECAR_OUTBOUND or SIDECAR_INBOUND",
)
WAYPOINT = Rule(
    "AIM111",
    "error",
    "`context: WAYPOINT` does nothing",
    "It is in the CRD since 1.29, skipped by validation, and implemented nowhere.",
    "use targetRefs and context: SIDECAR_INBOUND; that waypoints take this is not promised by Istio",
)
NOT_REFERENCED = Rule(
    "AIM112",
    "warning",
    "the processor's Service is not among the referenced services",
    "Waypoints, and gateways under `PILOT_FILTER_GATEWAY_CLUSTER_CONFIG`, get only clusters that their routes name: "
    "the processor's is not there.",
    f"add the annotation {_REFERENCED}: NAMESPACE/HOST",
)
NO_PRIORITY = Rule(
    "AIM113",
    "warning",
    "a relative operation without `priority`",
    "Where it lands among other EnvoyFilters depends on who was created first; `istioctl analyze` says IST0151 to it.",
    "give the EnvoyFilter a priority other than 0, as in priority: 10",
)
VERSION_PATTERN = Rule(
    "AIM114",
    "error",
    "`proxyVersion` matches no Istio of today",
    "It is a regular expression (RE2) that is searched for in the proxy's version, such as 1.30.3. Where it is not "
    "found the patch is left out silently, as after an upgrade.",
    r"write it as in '^1\.(29|3[0-9])\.', or leave it out",
)
LOOSE_VERSION = Rule(
    "AIM115",
    "warning",
    "`proxyVersion` has a dot that stands for any character",
    "`1.3` is found in 1.30.0, and in 1.29.103 too.",
    r"escape dots and anchor the pattern: '^1\.30\.'",
)
WRONG_OPERATION = Rule(
    "AIM116",
    "error",
    "an operation that Istio ignores here",
    "`ADD` and `REMOVE` do nothing to `ROUTE_CONFIGURATION` and `HTTP_ROUTE`; `REPLACE` works on `HTTP_FILTER`, "
    "`NETWORK_FILTER` and `VIRTUAL_HOST` only (IST0152 to IST0154).",
    "use MERGE",
)
INBOUND = Rule(
    "AIM117",
    "warning",
    "a processor that routes, on the server's side",
    "The caller's proxy has chosen the subset by then: inbound, a header changes no route any more.",
    "put it on the gateway or with SIDECAR_OUTBOUND on callers; inbound is for timing and guarding",
)
SHARED_NAME = Rule(
    "AIM118",
    "warning",
    "a filter with the name `envoy.filters.http.ext_proc`",
    "Istio's InferencePool puts a filter of this name on gateways and overrides it per route by that name: the two "
    "then configure each other.",
    "give the filter a name of its own, as in aimesh.route",
)
RULES = (
    *(FILTER_CLASS, ADD, LATE, EARLY, NO_ANCHOR, RARE_ANCHOR, SUB_FILTER, BOTH_SELECTORS, NO_SELECTOR, NO_CONTEXT),
    *(WAYPOINT, NOT_REFERENCED, NO_PRIORITY, VERSION_PATTERN, LOOSE_VERSION, WRONG_OPERATION, INBOUND, SHARED_NAME),
)

_RELATIVE = ("INSERT_BEFORE", "INSERT_AFTER", "REPLACE", "REMOVE")
_IGNORED = {
    "ADD": ("ROUTE_CONFIGURATION", "HTTP_ROUTE"),
    "REMOVE": ("ROUTE_CONFIGURATION", "HTTP_ROUTE"),
    "REPLACE": ("LISTENER", "FILTER_CHAIN", "CLUSTER", "ROUTE_CONFIGURATION", "HTTP_ROUTE"),
}


def check(mesh: Mesh) -> Iterator[Finding]:
    """Everything about the place of every patch."""
    for resource in mesh.of("EnvoyFilter"):
        yield from _selection(resource)
    for patch in mesh.patches:
        yield from _patch(patch)
        if patch.apply_to == "HTTP_FILTER" and patch.inserts:
            yield from _anchor(patch, mesh)
        if processor := patch.processor:
            yield from _processor(processor, mesh)


def _selection(resource: Resource) -> Iterator[Finding]:
    spec = resource.spec
    if spec.at("workloadSelector") and spec.at("targetRefs"):
        yield spec.at("targetRefs").breaks(BOTH_SELECTORS)
    operations = [item.at("patch", "operation") for item in spec.at("configPatches").items]
    relative = next((o for o in operations if o.text in _RELATIVE), None)
    if relative and not spec.at("priority").number:
        yield relative.breaks(NO_PRIORITY)


def _patch(patch: Patch) -> Iterator[Finding]:
    place = patch.root
    if wrong := place.at("patch", "filterClass"):
        yield wrong.breaks(FILTER_CLASS)
    if patch.context == "WAYPOINT":
        yield place.at("match", "context").breaks(WAYPOINT)
    if patch.apply_to in _IGNORED.get(patch.operation, ()):
        message = f"{patch.operation} is ignored where applyTo is {patch.apply_to}"
        yield place.at("patch", "operation").breaks(WRONG_OPERATION, message)
    if patch.context == "ANY" and patch.apply_to in ("HTTP_FILTER", "NETWORK_FILTER", "CLUSTER"):
        yield place.at("applyTo").breaks(NO_CONTEXT)
    around = place.at("match", "listener", "filterChain", "filter")
    if around.at("subFilter") and (around.at("name").text != HCM or patch.apply_to != "HTTP_FILTER"):
        yield around.at("subFilter").breaks(SUB_FILTER)
    if pattern := place.at("match", "proxy", "proxyVersion"):
        yield from _version(pattern)


def _version(pattern: Value) -> Iterator[Finding]:
    if why := re2_regex.refused(pattern.text):
        yield pattern.breaks(VERSION_PATTERN, f"proxyVersion is no regular expression: {why}")
        return
    if not any(re2_regex.may_be_found(pattern.text, version) for version in _VERSIONS):
        yield pattern.breaks(VERSION_PATTERN)
    elif re.search(r"(?<!\\)\.(?![*+?{])", pattern.text):
        yield pattern.breaks(LOOSE_VERSION)


def _anchor(patch: Patch, mesh: Mesh) -> Iterator[Finding]:
    """Whether the place exists, and is before the router."""
    operation, anchor = patch.root.at("patch", "operation"), patch.anchor
    if patch.operation == "ADD":
        yield operation.breaks(ADD)
    elif patch.operation == "INSERT_AFTER" and anchor.text in ("", ROUTER):
        where = "after the router" if anchor else "without a subFilter"
        yield operation.breaks(ADD, f"INSERT_AFTER {where} puts the filter behind the router")
    elif anchor.text not in mesh.filter_names and (missing := extension_of(anchor.text)):
        yield anchor.breaks(RARE_ANCHOR, f"no WasmPlugin or TrafficExtension {missing} is here")
    elif anchor and anchor.text not in (*CHAIN, *mesh.filter_names):
        yield anchor.breaks(NO_ANCHOR, f"no proxy of Istio has an HTTP filter {anchor.text}")
    elif anchor and anchor.text in CHAIN and anchor.text not in ALWAYS and anchor.text not in mesh.filter_names:
        yield anchor.breaks(RARE_ANCHOR, f"not every proxy has {anchor.text}")


def _processor(processor: Processor, mesh: Mesh) -> Iterator[Finding]:
    patch, routes = processor.patch, mesh.sees_requests(processor)
    if routes and (patch.operation == "INSERT_FIRST" or (patch.operation == "INSERT_BEFORE" and not patch.anchor)):
        yield patch.root.at("patch", "operation").breaks(EARLY)
    elif routes and (patch.anchor.text != ROUTER or patch.operation == "INSERT_BEFORE"):
        yield from _order(processor, mesh)
    spec = patch.resource.spec
    everywhere = not spec.at("workloadSelector", "labels").entries and not spec.at("targetRefs")
    if everywhere and not patch.value.at("disabled").flag:
        yield spec.breaks(NO_SELECTOR)
    if patch.context == "SIDECAR_INBOUND" and not patch.waypoint and routes and not processor.observes:
        yield patch.root.at("match", "context").breaks(INBOUND)
    if processor.name == "envoy.filters.http.ext_proc":
        yield patch.value.at("name").breaks(SHARED_NAME)
    if patch.waypoint and processor.cluster.text.startswith("outbound|"):
        named = patch.resource.root.at("metadata", "annotations", _REFERENCED)
        if processor.cluster.text.rpartition("|")[2] not in named.text:
            yield processor.cluster.breaks(NOT_REFERENCED)


def _order(processor: Processor, mesh: Mesh) -> Iterator[Finding]:
    patch, place = processor.patch, _position(processor.patch, mesh)
    where = f"{patch.operation} {patch.anchor.text}"
    if place is not None and place < AFTER_AUTHENTICATION:
        yield patch.anchor.breaks(EARLY, f"{where} is before authentication")
    elif place is not None and place > BEFORE_ROUTE_IS_USED and not processor.observes:
        yield patch.anchor.breaks(LATE, f"{where} is after filters that have used the old route")


def _position(patch: Patch, mesh: Mesh) -> float | None:
    """Where in CHAIN, also beside filters that other patches bring; None where that is not known."""
    by_name = {p.value.at("name").text: p for p in mesh.patches if p.apply_to == "HTTP_FILTER" and p.inserts}
    for _ in by_name:
        if patch.anchor.text in CHAIN and patch.operation.startswith("INSERT"):
            return CHAIN.index(patch.anchor.text) + (0.5 if patch.operation == "INSERT_AFTER" else -0.5)
        if extension := mesh.extensions.get(patch.anchor.text):
            # What runs in a phase of authentication may be all the authentication that there is.
            return AFTER_AUTHENTICATION if extension.phase else CHAIN.index(ROUTER) - 0.5
        if not (beside := by_name.get(patch.anchor.text)) or beside.root.path == patch.root.path:
            return None
        patch = beside
    return None
