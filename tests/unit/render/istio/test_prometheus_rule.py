"""The PrometheusRule, where it is wanted."""

from __future__ import annotations

from extproc.policy.snapshot import Snapshot
from extproc.render.istio.istio_options import IstioOptions
from extproc.render.istio.prometheus_rule import prometheus_rules
from extproc.render.prometheus.rule_groups import rule_groups
from tests.unit.render.snapshots import CANARY


def test_rules_are_there_where_they_are_wanted() -> None:
    wanted = IstioOptions(rules=True)
    assert prometheus_rules(CANARY, IstioOptions()) == prometheus_rules(Snapshot(), wanted) == []
    (found,) = prometheus_rules(CANARY, wanted)
    assert (found["kind"], found["metadata"]["namespace"]) == ("PrometheusRule", "ai")
    assert found["spec"] == {"groups": rule_groups(CANARY, "istio")}
