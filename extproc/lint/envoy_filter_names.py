"""EnvoyFilter: names of filters that are Istio's own, or that two patches use in one chain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from extproc.lint.envoy_filter_patches import Patch
from extproc.lint.findings import Finding, Rule
from extproc.lint.mesh import Mesh

SHARED_NAME = Rule(
    "AIM118",
    "warning",
    "a filter with the name `envoy.filters.http.ext_proc`",
    "Istio's InferencePool puts a filter of this name on gateways and overrides it per route by that name: the two "
    "then configure each other.",
    "give the filter a name of its own, as in aimesh.route",
)
TWICE = Rule(
    "AIM120",
    "error",
    "a filter that is put in twice",
    "Both patches take effect: the chain has the filter two times, and every request goes through it two times. Envoy "
    "accepts that.",
    "remove one of the two, or give the filters names of their own",
)
RULES = (SHARED_NAME, TWICE)


def check(mesh: Mesh) -> Iterator[Finding]:
    """Every HTTP filter that is put in."""
    for processor in mesh.processors:
        if processor.name == "envoy.filters.http.ext_proc":
            yield processor.patch.value.at("name").breaks(SHARED_NAME)
    inserted = [p for p in mesh.patches if p.apply_to == "HTTP_FILTER" and p.inserts]
    by_name: dict[str, list[Patch]] = defaultdict(list)
    for patch in inserted:
        name = patch.value.at("name")
        first = next((p for p in by_name[name.text] if _same_place(p, patch)), None)
        by_name[name.text].append(patch)
        if name and first:
            where = first.value.at("name")
            message = f"{where.file}:{where.node.line} puts {name.text} into the same chains already"
            yield name.breaks(TWICE, message)


def _same_place(one: Patch, other: Patch) -> bool:
    """Whether both certainly put their filter into the same chains of the same proxies."""
    return not one.overwrites(other) and _place(one) == _place(other)


def _place(patch: Patch) -> tuple[object, ...]:
    return (patch.chosen, patch.root.at("match").content, patch.operation)
