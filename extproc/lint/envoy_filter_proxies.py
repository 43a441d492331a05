"""EnvoyFilter: onto which proxies and listeners it goes: selectors, contexts, versions."""

from __future__ import annotations

import re
from collections.abc import Iterator

from extproc.lint import re2_regex
from extproc.lint.envoy_filter_patches import Patch, Processor
from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Value
from extproc.lint.mesh import Mesh

_VERSIONS = tuple(f"1.{minor}.{patch}" for minor in range(20, 40) for patch in (0, 3, 10))
_REFERENCED = "envoyfilter.istio.io/referenced-services"
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
INBOUND = Rule(
    "AIM117",
    "warning",
    "a processor that routes, on the server's side",
    "The caller's proxy has chosen the subset by then: inbound, a header changes no route any more.",
    "put it on the gateway or with SIDECAR_OUTBOUND on callers; inbound is for timing and guarding",
)
RULES = (
    *(BOTH_SELECTORS, NO_SELECTOR, NO_CONTEXT, WAYPOINT, NOT_REFERENCED, VERSION_PATTERN, LOOSE_VERSION),
    INBOUND,
)


def check(mesh: Mesh) -> Iterator[Finding]:
    """Every EnvoyFilter, its patches, and the processors among them."""
    for resource in mesh.of("EnvoyFilter"):
        if resource.spec.at("workloadSelector") and resource.spec.at("targetRefs"):
            yield resource.spec.at("targetRefs").breaks(BOTH_SELECTORS)
    for patch in mesh.patches:
        yield from _patch(patch)
        if processor := patch.processor:
            yield from _processor(processor, mesh)


def _patch(patch: Patch) -> Iterator[Finding]:
    match = patch.root.at("match")
    if patch.context == "WAYPOINT":
        yield match.at("context").breaks(WAYPOINT)
    if patch.context == "ANY" and patch.apply_to in ("HTTP_FILTER", "NETWORK_FILTER", "CLUSTER"):
        yield patch.root.at("applyTo").breaks(NO_CONTEXT)
    if pattern := match.at("proxy", "proxyVersion"):
        yield from _version(pattern)


def _processor(processor: Processor, mesh: Mesh) -> Iterator[Finding]:
    patch, spec = processor.patch, processor.patch.resource.spec
    everywhere = not spec.at("workloadSelector", "labels").entries and not spec.at("targetRefs")
    if everywhere and not patch.value.at("disabled").flag:
        yield spec.breaks(NO_SELECTOR)
    inbound = patch.context == "SIDECAR_INBOUND" and not patch.waypoint
    if inbound and mesh.sees_requests(processor) and not processor.observes:
        yield patch.root.at("match", "context").breaks(INBOUND)
    if patch.waypoint and processor.cluster.text.startswith("outbound|"):
        named = patch.resource.root.at("metadata", "annotations", _REFERENCED)
        if processor.cluster.text.rpartition("|")[2] not in named.text:
            yield processor.cluster.breaks(NOT_REFERENCED)


def _version(pattern: Value) -> Iterator[Finding]:
    if why := re2_regex.refused(pattern.text):
        yield pattern.breaks(VERSION_PATTERN, f"proxyVersion is no regular expression: {why}")
        return
    if not any(re2_regex.may_be_found(pattern.text, version) for version in _VERSIONS):
        yield pattern.breaks(VERSION_PATTERN)
    elif re.search(r"(?<!\\)\.(?![*+?{])", pattern.text):
        yield pattern.breaks(LOOSE_VERSION)
