"""EnvoyFilter: where in the chains of filters it puts its own: anchors, order, operations."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.envoy_filter_patches import HCM, ROUTER, Patch, Processor
from extproc.lint.extension_filters import extension_of
from extproc.lint.findings import Finding, Rule
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
NO_PRIORITY = Rule(
    "AIM113",
    "warning",
    "a relative operation without `priority`",
    "Where it lands among other EnvoyFilters depends on who was created first; `istioctl analyze` says IST0151 to it.",
    "give the EnvoyFilter a priority other than 0, as in priority: 10",
)
WRONG_OPERATION = Rule(
    "AIM116",
    "error",
    "an operation that Istio ignores here",
    "`ADD` and `REMOVE` do nothing to `ROUTE_CONFIGURATION` and `HTTP_ROUTE`; `REPLACE` works on `HTTP_FILTER`, "
    "`NETWORK_FILTER` and `VIRTUAL_HOST` only (IST0152 to IST0154).",
    "use MERGE",
)
RELEASE_NAME = Rule(
    "AIM119",
    "warning",
    "an anchor whose name changes with Istio's release",
    "The filter of a WasmPlugin was `extenstions.istio.io/wasmplugin/…` up to 1.25, is "
    "`extensions.istio.io/wasmplugin/…` up to 1.29, and `extensions.istio.io/trafficextension/…` from 1.30 on: after "
    "an upgrade nothing is inserted any more, silently.",
    "bind the patch to its releases (match.proxy.proxyVersion) and add one for the others; or anchor on "
    "envoy.filters.http.grpc_stats with INSERT_BEFORE",
)
RULES = (
    *(FILTER_CLASS, ADD, LATE, EARLY, NO_ANCHOR, RARE_ANCHOR, SUB_FILTER, NO_PRIORITY, WRONG_OPERATION),
    RELEASE_NAME,
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
        operations = [item.at("patch", "operation") for item in resource.spec.at("configPatches").items]
        relative = next((o for o in operations if o.text in _RELATIVE), None)
        if relative and not resource.spec.at("priority").number:
            yield relative.breaks(NO_PRIORITY)
    for patch in mesh.patches:
        yield from _patch(patch)
        if patch.apply_to == "HTTP_FILTER" and patch.inserts:
            yield from _anchor(patch, mesh)
            yield from _release(patch, mesh)
        if (processor := patch.processor) and mesh.sees_requests(processor):
            yield from _processor(processor, mesh)


def _patch(patch: Patch) -> Iterator[Finding]:
    place = patch.root
    if wrong := place.at("patch", "filterClass"):
        yield wrong.breaks(FILTER_CLASS)
    if patch.apply_to in _IGNORED.get(patch.operation, ()):
        message = f"{patch.operation} is ignored where applyTo is {patch.apply_to}"
        yield place.at("patch", "operation").breaks(WRONG_OPERATION, message)
    around = place.at("match", "listener", "filterChain", "filter")
    if around.at("subFilter") and (around.at("name").text != HCM or patch.apply_to != "HTTP_FILTER"):
        yield around.at("subFilter").breaks(SUB_FILTER)


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


def _release(patch: Patch, mesh: Mesh) -> Iterator[Finding]:
    """An anchor that some releases have, and no patch for the others."""
    extension = mesh.extensions.get(patch.anchor.text)
    if extension is None or patch.root.at("match", "proxy", "proxyVersion"):
        return
    names = {name for name, other in mesh.extensions.items() if other.of == extension.of}
    if len(names) > 1 and not (names - {patch.anchor.text}) & {p.anchor.text for p in mesh.patches}:
        message = f"only {extension.releases} has the filter of {extension.of} by this name"
        yield patch.anchor.breaks(RELEASE_NAME, message)


def _processor(processor: Processor, mesh: Mesh) -> Iterator[Finding]:
    patch = processor.patch
    if patch.operation == "INSERT_FIRST" or (patch.operation == "INSERT_BEFORE" and not patch.anchor):
        yield patch.root.at("patch", "operation").breaks(EARLY)
    elif patch.anchor.text != ROUTER or patch.operation == "INSERT_BEFORE":
        yield from _order(processor, mesh)


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
