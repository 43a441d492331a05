"""EnvoyFilter: what several patches together put into a chain of filters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from extproc.lint.envoy_filter_patches import Patch
from extproc.lint.findings import Finding, Rule
from extproc.lint.mesh import Mesh

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
TWICE = Rule(
    "AIM120",
    "error",
    "a filter that is put in twice",
    "Both patches take effect: the chain has the filter two times, and every request goes through it two times. Envoy "
    "accepts that.",
    "remove one of the two, or give the filters names of their own",
)
RULES = (RELEASE_NAME, TWICE)


def check(mesh: Mesh) -> Iterator[Finding]:
    """Anchors on extensions, and filters of one name."""
    inserted = [p for p in mesh.patches if p.apply_to == "HTTP_FILTER" and p.inserts]
    for patch in inserted:
        yield from _release(patch, mesh)
    by_name: dict[str, list[Patch]] = defaultdict(list)
    for patch in inserted:
        name = patch.value.at("name")
        first = next((p for p in by_name[name.text] if _same_place(p, patch)), None)
        by_name[name.text].append(patch)
        if name and first:
            where = first.value.at("name")
            message = f"{where.file}:{where.node.line} puts {name.text} into the same chains already"
            yield name.breaks(TWICE, message)


def _release(patch: Patch, mesh: Mesh) -> Iterator[Finding]:
    """An anchor that some releases have, and no patch for the others."""
    extension = mesh.extensions.get(patch.anchor.text)
    if extension is None or patch.root.at("match", "proxy", "proxyVersion"):
        return
    names = {name for name, other in mesh.extensions.items() if other.of == extension.of}
    if len(names) > 1 and not (names - {patch.anchor.text}) & {p.anchor.text for p in mesh.patches}:
        message = f"only {extension.releases} has the filter of {extension.of} by this name"
        yield patch.anchor.breaks(RELEASE_NAME, message)


def _same_place(one: Patch, other: Patch) -> bool:
    """Whether both certainly put their filter into the same chains of the same proxies."""
    return not one.overwrites(other) and _place(one) == _place(other)


def _place(patch: Patch) -> tuple[object, ...]:
    return (patch.chosen, patch.root.at("match").content, patch.operation)
