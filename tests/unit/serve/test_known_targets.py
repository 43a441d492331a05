"""Targets by the names of their clusters: in a mesh and in an Envoy of ours, now and before."""

from __future__ import annotations

import pytest

from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.serve import known_targets
from extproc.serve.known_targets import KnownTargets


def one(*versions: str) -> Snapshot:
    return Snapshot((Policy("p", host="p", models=("m",), versions=tuple(map(Version, versions))),))


@pytest.mark.parametrize(
    ("namespace", "cluster"),
    [
        (None, "p/v1"),
        ("ai", "outbound|8080|v1|p.ai.svc.cluster.local"),
        ("ai", "inbound-vip|8080|http/v1|p.ai.svc.cluster.local"),
    ],
)
def test_each_has_its_names(namespace: str | None, cluster: str) -> None:
    snapshot = one("v1")
    for known in (KnownTargets(None), KnownTargets("ai"), KnownTargets("ml")):
        found = known.by_cluster(snapshot).get(cluster, ())
        assert len(found) == (known._mesh_namespace == namespace)


def test_those_of_before_are_known_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_targets, "MAX_OLD_CLUSTERS", 2)
    known = KnownTargets(None)
    for versions in (("v1", "v2"), ("v2", "v3"), ("v4",)):
        found = known.by_cluster(one(*versions))
    assert set(found) == {"p/v2", "p/v3", "p/v4"}


def test_accounts_follow_the_policies() -> None:
    known, before, after = KnownTargets(None), one("v1"), one("v2")
    found = known.accounts(before)
    assert known.accounts(before) is found
    renewed = known.accounts(after)
    assert renewed is not found
    assert set(renewed.targets) == {"p/v1", "p/v2"}
