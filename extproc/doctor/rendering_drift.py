"""Whether the filters and routes of an Envoy were rendered from the policies in force."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.doctor.envoy_dump import Dump, Evidence, FilterChain, at
from extproc.doctor.rule_catalog import NOT_COMPARED, RENDERED_BEFORE
from extproc.lint.findings import Finding
from extproc.policy.snapshot import Snapshot
from extproc.render.envoy.envoy_options import NAMESPACE
from extproc.render.istio.provenance import METADATA, ROUTE_METADATA, differences


def check(evidence: Evidence, snapshot: Snapshot, source: str) -> list[Finding]:
    """Each filter that was rendered from other policies than ``snapshot``, and each listener whose routes were; or
    that nothing in this Envoy says what it was rendered from.

    ``source``: the Envoy's address, or the file.
    """
    chains = [chain for chain in Dump(evidence.config_dump).chains if any(f.is_processor for f in chain.filters)]
    said = list(dict.fromkeys(each for chain in chains for each in _said(chain)))
    if chains and not said:
        return [NOT_COMPARED.at(source, 0, path="", message="not compared with the policies given")]
    return [
        RENDERED_BEFORE.at(
            source, 0, path=subject, message=f"rendered from other policies: {', '.join(map(str, differing))}"
        )
        for subject, text in said
        if (differing := differences(text, snapshot))
    ]


def _said(chain: FilterChain) -> Iterator[tuple[str, str]]:
    """What in the chain says from what it was rendered, and that text."""
    for item in chain.filters:
        if item.is_processor:
            yield from (
                (f"listener {chain.listener}, filter {item.name}", text) for text in item.says(METADATA) if text
            )
    for routes in chain.routes:
        text = at(routes, "metadata", "filter_metadata", NAMESPACE, ROUTE_METADATA)
        if isinstance(text, str) and text:
            yield f"listener {chain.listener}, its routes", text
