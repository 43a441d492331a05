"""Clusters with a load balancing policy, and DestinationRules that weigh localities."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.lint import cluster_balancing
from tests.lint.corpus import bad, expected, found, found_codes, found_in_good


@bad(cluster_balancing)
def test_bad_manifests(path: Path) -> None:
    assert found(cluster_balancing, path) == expected(cluster_balancing, path)


def test_good_manifests() -> None:
    assert found_in_good(cluster_balancing) == []


FILTER = """\
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {{name: picked, namespace: ai}}
spec:
  configPatches:
  - applyTo: CLUSTER
    match: {{cluster: {match}}}
    patch: {{operation: MERGE, value: {value}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: chat, namespace: ai}}
spec: {spec}
"""
BY_NAME, ANY = "{name: outbound|80|v1|chat.ai.svc.cluster.local}", "{service: chat.ai.svc.cluster.local}"
POLICY, NONE = "{load_balancing_policy: {policies: []}}", "{connect_timeout: 1s}"
TIERS, SHARES = "localityLbSetting: {failoverPriority: [a]}", "localityLbSetting: {distribute: [{from: a, to: {a: 1}}]}"
EJECTS = "outlierDetection: {interval: 1s}"


def of_host(setting: str, more: str = EJECTS, subsets: str = "[{name: v1}]") -> str:
    return f"{{host: chat, trafficPolicy: {{loadBalancer: {{{setting}}}, {more}}}, subsets: {subsets}}}"


@pytest.mark.parametrize(
    ("match", "value", "spec", "count"),
    [
        (BY_NAME, POLICY, of_host(TIERS), 1),
        (BY_NAME, NONE, of_host(TIERS), 0),
        (BY_NAME, POLICY, of_host(TIERS, "tls: {}"), 0),
        (BY_NAME, POLICY, of_host(SHARES, "tls: {}"), 1),
        (BY_NAME, POLICY, of_host(TIERS.replace("{f", "{enabled: false, f")), 0),
        (BY_NAME, POLICY, of_host("simple: RANDOM"), 0),
        (BY_NAME, POLICY, of_host(TIERS, subsets="[{name: v2}]"), 0),
        (
            *(BY_NAME, POLICY),
            of_host(TIERS, subsets="[{name: v1, trafficPolicy: {loadBalancer: {simple: RANDOM}}}]"),
            0,
        ),
        (ANY, POLICY, of_host(TIERS), 2),
        ("{}", POLICY, of_host(TIERS), 0),
        ("{name: mine}", POLICY, of_host(TIERS), 0),
        (BY_NAME, POLICY, of_host(TIERS).replace("host: chat", "host: code"), 0),
    ],
)
def test_which_clusters_are_refused(match: str, value: str, spec: str, count: int) -> None:
    text = FILTER.format(match=match, value=value, spec=spec)
    assert found_codes(cluster_balancing, text) == ["AIM311"] * count
