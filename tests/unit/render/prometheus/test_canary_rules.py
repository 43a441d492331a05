"""Canaries against the stable version: which is stable, what is compared, when an alert fires."""

from __future__ import annotations

import pytest

from extproc.policy.snapshot import Version
from extproc.render.prometheus.canary_rules import COUNT, FAILED, RATIO, READ, ZSCORE, canary
from tests.unit.render.snapshots import CANARY, Doc, policy

CHAT = CANARY.policies[0]


def recorded(name: str) -> Doc:
    (found,) = (rule for rule in canary(CHAT) if rule.get("record") == name)
    return found


@pytest.mark.parametrize(
    ("versions", "stable"),
    [
        ((Version("v1", 9), Version("v2", 1)), "v1"),
        ((Version("v1", 1), Version("v2", 9)), "v2"),
        ((Version("v1", 5), Version("v2", 5)), "v1"),
        ((Version("v1", 1), Version("v2", 2), Version("copy", 9, mirror=5)), "v2"),
    ],
)
def test_the_stable_version_has_the_most_weight(versions: tuple[Version, ...], stable: str) -> None:
    fails, slow = (rule for rule in canary(policy(versions=versions)) if "alert" in rule)
    assert fails["annotations"]["summary"] == f"chat {{{{ $labels.version }}}} fails more often than {stable}"
    assert f'version!="{stable}"' in slow["expr"]
    assert f'version="{stable}"' in slow["expr"]


def test_rules_come_before_those_that_use_them() -> None:
    assert [rule.get("record") or rule["alert"] for rule in canary(CHAT)] == [
        *(COUNT, FAILED, READ, RATIO, ZSCORE, "InferenceCanaryFails", "InferenceCanarySlow")
    ]


def test_rates_are_summed_to_counts() -> None:
    assert recorded(COUNT)["expr"] == (
        'sum by (version) (sum_over_time(version_pool:inference_requests:rate5m{policy="chat"}[30m])) * 30'
    )
    assert "version_pool:inference_failures:rate5m" in recorded(FAILED)["expr"]
    assert recorded(RATIO)["expr"].endswith(f'/ ({COUNT}{{policy="chat"}} > 0)')


def test_a_test_without_variance_gives_zero() -> None:
    expr = recorded(ZSCORE)["expr"]
    assert expr.startswith(f'({RATIO}{{version!="v1", policy="chat"}} - on (policy) group_left () {RATIO}{{')
    assert expr.endswith(", 1e-12))")


def test_a_canary_pages_only_on_significance_and_enough_failures() -> None:
    fails, slow = (rule for rule in canary(CHAT) if "alert" in rule)
    assert fails["expr"] == f'{ZSCORE}{{policy="chat"}} > 3\nand {FAILED}{{policy="chat"}} >= 10'
    assert (fails["labels"]["severity"], fails["for"]) == ("page", "2m")
    assert (slow["labels"]["severity"], slow["for"]) == ("ticket", "15m")
    assert "> on (policy) group_left () 1.5 * max by (policy)" in slow["expr"]
    assert slow["expr"].count('quantile="0.95"') == 2
