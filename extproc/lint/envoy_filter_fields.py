"""EnvoyFilter: names, types and durations that neither Istio nor Envoy has.

Names are looked at where nothing else does: in the EnvoyFilter itself, and in what it merges into hosts and routes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from extproc.lint.envoy_filter_patches import EXT_PROC, PER_ROUTE, Patch
from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Value, camel
from extproc.lint.mesh import Mesh
from extproc.policyfile.fields import suggestion

Shape: TypeAlias = Mapping[str, Any]
"""The fields of an object, each with those below it; empty where anything may be."""

UNKNOWN_KEY = Rule(
    "AIM171",
    "error",
    "a field that an EnvoyFilter does not have",
    "`kubectl` refuses it; by any other way the API server drops it, and a selector or a match that is gone selects "
    "everything.",
    "correct the name",
)
UNKNOWN_FIELD = Rule(
    "AIM172",
    "error",
    "a field that a virtual host or a route does not have",
    "The API server takes it, validation only warns, and istiod drops it: the host stays as it was.",
    "correct the name",
)
NO_DURATION = Rule(
    "AIM173",
    "error",
    "a duration that is none",
    "istiod refuses the whole EnvoyFilter. It reads durations as Go does: numbers, each with its unit.",
    "write h, m, s or ms after the number, as in 1.5s or 200ms",
)
NO_TYPE = Rule(
    "AIM174",
    "error",
    "a type that no Envoy of today has",
    "istiod refuses the whole EnvoyFilter; in a `TypedStruct`, which it does not look into, Envoy refuses the "
    "listener.",
    "write the type of version v3",
)
INCOMPLETE = Rule(
    "AIM175",
    "error",
    "a patch that lacks a part, or matches an object of another kind",
    "istiod refuses the whole EnvoyFilter.",
    "write applyTo, patch.operation and (but for REMOVE) patch.value, with match.listener for listeners and filters, "
    "match.routeConfiguration for hosts and routes, match.cluster for clusters",
)
RULES = (UNKNOWN_KEY, UNKNOWN_FIELD, NO_DURATION, NO_TYPE, INCOMPLETE)


def _plain(*names: str) -> dict[str, Shape]:
    return {name: {} for name in names}


_FILTER: Shape = {**_plain("name"), "subFilter": _plain("name")}
_CHAIN: Shape = {
    **_plain("applicationProtocols", "destinationPort", "name", "sni", "transportProtocol"),
    "filter": _FILTER,
}
_HOST_MATCH: Shape = {**_plain("domainName", "name"), "route": _plain("action", "name")}
_MATCH: Shape = {
    **_plain("context"),
    "cluster": _plain("name", "portNumber", "service", "subset"),
    "listener": {**_plain("listenerFilter", "name", "portName", "portNumber"), "filterChain": _CHAIN},
    "proxy": _plain("metadata", "proxyVersion"),
    "routeConfiguration": {**_plain("gateway", "name", "portName", "portNumber"), "vhost": _HOST_MATCH},
    "waypoint": {**_plain("portNumber"), "filter": _FILTER, "route": _plain("name")},
}
SPEC: Shape = {
    **_plain("priority"),
    "configPatches": {**_plain("applyTo"), "match": _MATCH, "patch": _plain("filterClass", "operation", "value")},
    "targetRefs": _plain("group", "kind", "name", "namespace"),
    "workloadSelector": _plain("labels"),
}
"""Of an EnvoyFilter, as of Istio 1.30."""

_BOTH = (
    *("name", "metadata", "typed_per_filter_config", "per_request_buffer_limit_bytes", "request_body_buffer_limit"),
    *("request_headers_to_add", "request_headers_to_remove", "response_headers_to_add", "response_headers_to_remove"),
    "route_specifiers",
)
ACTION: Shape = _plain(
    *("cluster", "cluster_header", "weighted_clusters", "cluster_specifier_plugin", "inline_cluster_specifier_plugin"),
    *("cluster_not_found_response_code", "metadata_match", "prefix_rewrite", "regex_rewrite", "path_rewrite_policy"),
    *("path_rewrite", "host_rewrite_literal", "auto_host_rewrite", "host_rewrite_header", "host_rewrite_path_regex"),
    *("host_rewrite", "append_x_forwarded_host", "timeout", "idle_timeout", "flush_timeout", "early_data_policy"),
    *("retry_policy", "retry_policy_typed_config", "request_mirror_policies", "priority", "rate_limits"),
    *("include_vh_rate_limits", "hash_policy", "cors", "max_grpc_timeout", "grpc_timeout_offset", "upgrade_configs"),
    *("internal_redirect_policy", "internal_redirect_action", "max_internal_redirects", "hedge_policy"),
    "max_stream_duration",
)
ROUTE: Shape = {
    **_plain(*_BOTH, "match", "redirect", "direct_response", "filter_action", "non_forwarding_action"),
    **_plain("decorator", "tracing", "stat_prefix"),
    "route": ACTION,
}
HOST: Shape = {
    **_plain(*_BOTH, "domains", "matcher", "require_tls", "virtual_clusters", "rate_limits", "cors"),
    **_plain("include_request_attempt_count", "include_attempt_count_in_response", "retry_policy"),
    **_plain("retry_policy_typed_config", "hedge_policy", "include_is_timeout_retry_header"),
    **_plain("request_mirror_policies"),
    "routes": ROUTE,
}
"""In Envoy 1.40."""

_OF: dict[str, tuple[str, Shape]] = {"VIRTUAL_HOST": ("a virtual host", HOST), "HTTP_ROUTE": ("a route", ROUTE)}
_DURATIONS = {
    "HTTP_ROUTE": (("route", "timeout"), ("route", "idle_timeout"), ("route", "retry_policy", "per_try_timeout")),
    "VIRTUAL_HOST": (("retry_policy", "per_try_timeout"),),
    "CLUSTER": (("connect_timeout",),),
}
_GONE = re.compile(
    r"envoy\..*\.v(?:[12](?:alpha\d*)?|4alpha)\.|envoy\.api\.v2\.|"
    r"envoy\.extensions\.filters\.http\.(?:admission_control|cache|cdn_loop|ext_proc|oauth2)\.v3alpha\."
)
"""The API's second version went with Envoy 1.18, these filters left their alpha before it had any other user."""
_EXT_PROC_TYPES = (EXT_PROC, PER_ROUTE)
_EXT_PROC = EXT_PROC.rpartition(".")[0]
_MATCHES = {
    **dict.fromkeys(("LISTENER", "FILTER_CHAIN", "NETWORK_FILTER", "HTTP_FILTER"), "listener"),
    **dict.fromkeys(("ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE"), "routeConfiguration"),
    "CLUSTER": "cluster",
}
_OF_EXT_PROC = ("message_timeout", "max_message_timeout", "deferred_close_timeout")


def check(mesh: Mesh) -> Iterator[Finding]:
    """Every EnvoyFilter and what it merges."""
    for resource in mesh.of("EnvoyFilter"):
        yield from _names(resource.spec, SPEC, UNKNOWN_KEY, "an EnvoyFilter")
    for patch in mesh.patches:
        yield from _refused(patch)
        yield from _types(patch)
        if patch.apply_to in _OF:
            what, shape = _OF[patch.apply_to]
            yield from _names(patch.value, shape, UNKNOWN_FIELD, what)
        for duration in _durations(patch):
            if duration.text and duration.seconds is None:
                yield duration.breaks(NO_DURATION, f"{duration.text} is no duration")


def _refused(patch: Patch) -> Iterator[Finding]:
    """What istiod's validation wants of every patch."""
    parts = {"applyTo": patch.root.at("applyTo"), "patch.operation": patch.root.at("patch", "operation")}
    if patch.operation != "REMOVE":
        parts["patch.value"] = patch.value
    for name, part in parts.items():
        if not part:
            yield patch.root.breaks(INCOMPLETE, f"{name} is missing", f"write {name}")
    if wanted := _MATCHES.get(patch.apply_to):
        for other in sorted({*_MATCHES.values()} - {wanted}):
            if written := patch.root.at("match", other):
                message = f"{patch.apply_to} is not matched by {other}"
                yield written.breaks(INCOMPLETE, message, f"write match.{wanted}")


def _types(patch: Patch) -> Iterator[Finding]:
    for value in patch.value.walk():
        for field in ("@type", "type_url"):
            written = value.at(field)
            name = written.text.rpartition("/")[2]
            if _GONE.match(name):
                yield written.breaks(NO_TYPE, f"no Envoy of today has the type {name}")
            elif name.startswith(_EXT_PROC) and name not in _EXT_PROC_TYPES:
                yield written.breaks(NO_TYPE, f"Envoy has no type {name}", suggestion(name, _EXT_PROC_TYPES))


def _names(value: Value, shape: Shape, rule: Rule, what: str) -> Iterator[Finding]:
    """Fields that ``shape`` does not have, in ``value`` and below; Envoy's may be written in either case."""
    known = {written: below for name, below in shape.items() for written in (name, camel(name))}
    for item in value.items or [value]:
        for name, key in item.named():
            if name not in known:
                yield key.breaks(rule, f"{what} has no field {name} here", suggestion(name, shape))
            elif known[name]:
                yield from _names(item.at(name), known[name], rule, what)


def _durations(patch: Patch) -> Iterator[Value]:
    for steps in _DURATIONS.get(patch.apply_to, ()):
        yield patch.value.at(*steps)
    if processor := patch.processor:
        yield from map(processor.config.at, _OF_EXT_PROC)
