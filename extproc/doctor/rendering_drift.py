"""Whether the filters of an Envoy were rendered from the policies in force.

A filter that was not made by `extproc render istio`, or by an older version, says nothing and is not judged.
"""

from __future__ import annotations

from extproc.doctor.envoy_dump import Dump, Evidence
from extproc.doctor.rule_catalog import RENDERED_BEFORE
from extproc.lint.findings import Finding
from extproc.policy.snapshot import Snapshot
from extproc.render.istio.provenance import METADATA, differences


def check(evidence: Evidence, snapshot: Snapshot, source: str) -> list[Finding]:
    """Each filter that was rendered from other policies than ``snapshot``.

    ``source``: the Envoy's address, or the file.
    """
    found = (
        RENDERED_BEFORE.at(
            source,
            0,
            path=f"listener {chain.listener}, filter {item.name}",
            message=f"rendered from other policies: {', '.join(map(str, differing))}",
        )
        for chain in Dump(evidence.config_dump).chains
        for item in chain.filters
        if item.is_processor
        for text in item.says(METADATA)
        if (differing := differences(text, snapshot))
    )
    return list(dict.fromkeys(found))
