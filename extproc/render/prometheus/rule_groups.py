"""Prometheus rule groups from policies: recording rules for golden metrics, and alerts on them.

``rule_groups`` gives what both a rules file and a PrometheusRule (Prometheus operator) hold. Recorded series have the
same names and labels for every source, so alerts and dashboard are the same for all of them. Names follow Prometheus'
convention ``level:metric:operation``; the level says which labels a series has:

- ``version_pool``: policy, model, version, gpu_pool
- ``version``: policy, model, version
- ``canary``: policy, version

Without traffic rates are 0, and ratios and quantiles have no sample: they are neither 100 % nor an alert.
"""

from __future__ import annotations

from extproc.policy.snapshot import Snapshot
from extproc.render.document import Doc
from extproc.render.prometheus.canary_rules import canary
from extproc.render.prometheus.golden_rules import EVALUATION_INTERVAL, golden_metrics
from extproc.render.prometheus.processor_rules import processor
from extproc.render.prometheus.slo_rules import objectives
from extproc.render.source_names import Source


def rule_groups(snapshot: Snapshot, source: Source) -> list[Doc]:
    """Groups for every policy of the snapshot, measured by ``source``, and one for the processor itself."""
    found: list[Doc] = []
    for policy in snapshot.policies:
        found.append(_group(golden_metrics(snapshot, policy, source), policy.name))
        if policy.slo:
            found.append(_group(objectives(policy, policy.slo), policy.name, "slo"))
        if len(policy.answering) > 1:
            found.append(_group(canary(policy), policy.name, "canary"))
    found.append(_group(processor(source)))
    return found


def _group(rules: list[Doc], *names: str) -> Doc:
    """A group named ``aimesh`` (the processor) or ``aimesh/chat`` (a policy; their names have no slash)."""
    return {"name": "/".join(("aimesh", *names)), "interval": f"{EVALUATION_INTERVAL}s", "rules": rules}
