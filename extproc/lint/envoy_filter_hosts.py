"""EnvoyFilter: for which hosts and routes a processor is switched on."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.envoy_filter_order import CHAIN
from extproc.lint.envoy_filter_patches import FILTER_CONFIG, PER_ROUTE, ROUTES, Patch, typed
from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Value
from extproc.lint.mesh import Mesh

EVERY_HOST = Rule(
    "AIM161",
    "warning",
    "every host of the proxy goes through the processor",
    "All other traffic of the gateway or the caller pays for it, and fails or passes unrouted with it. (A waypoint has "
    "no such hosts: choose its Services.)",
    "write disabled: true beside the filter's name, and switch it on for model hosts: typed_per_filter_config in a "
    "VIRTUAL_HOST patch",
)
NEVER_ON = Rule(
    "AIM162",
    "error",
    "a filter that is switched off and nowhere on",
    "`disabled: true` beside its name leaves it out everywhere but where a route says otherwise, and none here does.",
    "switch it on: typed_per_filter_config with its name in a VIRTUAL_HOST or HTTP_ROUTE patch",
)
WRONG_NAME = Rule(
    "AIM163",
    "error",
    "per-host settings for a filter that is not there",
    "`typed_per_filter_config` goes by the filter's name, not by its type: Envoy passes over other names silently.",
    "use the name that the HTTP_FILTER patch gives",
)
NOT_DISABLED = Rule(
    "AIM164",
    "error",
    "`disabled: false` in ExtProcPerRoute",
    "Envoy refuses the route configuration: only true is allowed there.",
    "write overrides: {} to switch it on, disabled: true to switch it off",
)
NO_TYPE = Rule(
    "AIM165",
    "error",
    "an empty `config` in FilterConfig",
    "Envoy would switch the filter on by it, but istiod refuses the whole EnvoyFilter: it reads no configuration "
    "without a type.",
    'write config: {"@type": …} with a type of the filter, for ext_proc ExtProcPerRoute with overrides: {}',
)
RULES = (EVERY_HOST, NEVER_ON, WRONG_NAME, NOT_DISABLED, NO_TYPE)

_ISTIO = tuple(name for name in CHAIN if name != "envoy.filters.http.ext_proc")
"""Filters that Istio puts in and that routes may have settings for; its ext_proc is an InferencePool's affair."""


def check(mesh: Mesh) -> Iterator[Finding]:
    """Per-host switches against the filters that there are."""
    switched: dict[str, list[Value]] = {}
    for patch in mesh.patches:
        if patch.apply_to in ROUTES:
            for value in patch.value.walk():
                for name, key in value.at("typed_per_filter_config").named():
                    switched.setdefault(name, []).append(key)
                settings = typed(value)
                if settings.name == PER_ROUTE and settings.config.at("disabled").text == "false":
                    yield settings.config.at("disabled").breaks(NOT_DISABLED)
                config = settings.config.at("config")
                if settings.name == FILTER_CONFIG and config and not config.at("@type"):
                    yield config.breaks(NO_TYPE)
    for name, keys in switched.items():
        if name not in _ISTIO and name not in mesh.filter_names:
            yield from (key.breaks(WRONG_NAME, f"no patch here puts in a filter {name}") for key in keys)
    for patch in mesh.patches:
        if patch.apply_to == "HTTP_FILTER" and patch.inserts and patch.value.at("name").text not in switched:
            yield from _everywhere_or_nowhere(patch)


def _everywhere_or_nowhere(patch: Patch) -> Iterator[Finding]:
    """A filter for which no host has settings."""
    off, processor = patch.value.at("disabled"), patch.processor
    if off.flag:
        yield off.breaks(NEVER_ON)
    elif processor and processor.at_edge and not (processor.observes or patch.waypoint):
        yield patch.value.at("name").breaks(EVERY_HOST)
