"""Manifests that were rendered, beside the policies that are in force.

Looked at only where policies are given too: `extproc check --istio FILE -f POLICY`.
"""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Value
from extproc.lint.mesh import Mesh
from extproc.policy.snapshot import Snapshot
from extproc.render.istio.provenance import ANNOTATION, ROUTES, SELECTORS, concerns, differences

_RENDER = (
    "render the policies and apply it (extproc render istio); where something goes, the policy first: "
    "istio/README.md#order"
)
STALE = Rule(
    "AIM601",
    "error",
    "rendered from other policies than those given",
    "The processor decides by what routes and filters do not know: such requests go by the default route, without a "
    "version, or the filters do not show what it must see.",
    _RENDER,
)
OLD_SHARES = Rule(
    "AIM602",
    "warning",
    "rendered before weights or objectives changed",
    "Nothing goes wrong while a processor decides; the default route and Prometheus' rules go by what was.",
    _RENDER,
)
NOT_RENDERED = Rule(
    "AIM603",
    "warning",
    "nothing here was rendered from the policies given",
    "No manifest says in an annotation that it was made from one of them, so they can't be compared.",
    "add what `extproc render istio` made, or render it anew with this version",
)
RULES = (STALE, OLD_SHARES, NOT_RENDERED)


def check(mesh: Mesh, snapshot: Snapshot) -> Iterator[Finding]:
    """One finding for each rendering that is of other policies than those in ``snapshot``, at its first manifest."""
    found: dict[str, list[Value]] = {}
    for resource in mesh.resources:
        written = resource.root.at("metadata", "annotations", ANNOTATION)
        if written.text and concerns(written.text, snapshot):
            found.setdefault(written.text, []).append(written)
    if not found and mesh.resources:
        yield mesh.resources[0].root.breaks(NOT_RENDERED)
    for text, places in found.items():
        differing = differences(text, snapshot)
        if differing:
            rule = STALE if any(each.part in (*ROUTES, SELECTORS) for each in differing) else OLD_SHARES
            what = f"{len(places)} manifests were" if len(places) > 1 else "this was"
            yield places[0].breaks(rule, f"{what} rendered from other policies: {', '.join(map(str, differing))}")
