"""The PrometheusRule: the rules for Prometheus as an object that the Prometheus operator reads."""

from __future__ import annotations

from extproc.policy.snapshot import Snapshot
from extproc.render.document import Doc
from extproc.render.istio.istio_options import IstioOptions, manifest, namespace
from extproc.render.prometheus.rule_groups import rule_groups

PROMETHEUS_RULE = "PrometheusRule", "monitoring.coreos.com/v1"


def prometheus_rules(snapshot: Snapshot, options: IstioOptions) -> list[Doc]:
    """The rules of `render rules --source istio` as a PrometheusRule, if the options want one."""
    if not options.rules or not snapshot.policies:
        return []
    where = namespace(snapshot.policies[0], options)
    return [manifest(*PROMETHEUS_RULE, "aimesh", where, {"groups": rule_groups(snapshot, "istio")})]
