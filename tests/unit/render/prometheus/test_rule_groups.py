"""Groups of rules: which a policy has, what they are called, how often they are evaluated."""

from __future__ import annotations

import pytest

from extproc.policy.snapshot import Policy, Slo, Snapshot
from extproc.render.prometheus.rule_groups import rule_groups
from extproc.render.source_names import SOURCES, Source
from tests.unit.render.snapshots import CANARY, MIRRORED, PLAIN, policy


@pytest.mark.parametrize(
    ("snapshot", "names"),
    [
        (Snapshot(), []),
        (PLAIN, ["aimesh/plain"]),
        (CANARY, ["aimesh/chat", "aimesh/chat/canary"]),
        (MIRRORED, ["aimesh/chat"]),
        (
            Snapshot((policy(versions=CANARY.policies[0].versions, slo=Slo(99.0)), *PLAIN.policies)),
            ["aimesh/chat", "aimesh/chat/slo", "aimesh/chat/canary", "aimesh/plain"],
        ),
        (Snapshot((Policy("chat.slo", models=("a",)), Policy("chat", slo=Slo(99.0)))), None),
    ],
)
def test_groups(snapshot: Snapshot, names: list[str] | None) -> None:
    found = [group["name"] for group in rule_groups(snapshot, "extproc")]
    assert names is None or found == [*names, "aimesh"]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("source", SOURCES)
def test_groups_are_evaluated_as_often_as_the_rules_assume(source: Source) -> None:
    groups = rule_groups(CANARY, source)
    assert {group["interval"] for group in groups} == {"30s"}
    assert all(group["rules"] for group in groups)


def test_alerts_do_not_depend_on_the_source() -> None:
    """Alerts build on recorded series; only the one on Envoy's own counter is for one source."""
    snapshot = Snapshot((policy(versions=CANARY.policies[0].versions, slo=Slo(99.0)),))
    alerts = {
        source: [rule for group in rule_groups(snapshot, source) for rule in group["rules"] if "alert" in rule]
        for source in SOURCES
    }
    assert alerts["istio"] == alerts["linkerd"]
    extra = [rule["alert"] for rule in alerts["extproc"] if rule not in alerts["istio"]]
    assert extra == ["InferenceFailedOpen"]
