"""Recording rules of golden metrics: names, labels, expressions; and the alert on traffic that stops."""

from __future__ import annotations

import pytest

from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.render.prometheus import golden_rules as golden
from extproc.render.prometheus.golden_rules import golden_metrics, record
from extproc.render.source_names import SOURCES, Source
from tests.unit.render.snapshots import CANARY, MIRRORED, PLAIN, POOLED, Doc, policy


def rules(snapshot: Snapshot, source: Source = "extproc") -> list[Doc]:
    return golden_metrics(snapshot, snapshot.policies[0], source)


def recorded(name: str, snapshot: Snapshot = CANARY, source: Source = "extproc") -> list[Doc]:
    return [rule for rule in rules(snapshot, source) if rule.get("record") == name]


def test_a_rule_says_its_labels() -> None:
    assert record("a:b:c", "up", policy="p") == {"record": "a:b:c", "expr": "up", "labels": {"policy": "p"}}


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_has_the_same_names(source: Source) -> None:
    assert [rule.get("record") for rule in rules(CANARY, source)][-4:] == [
        *(golden.SHARE, golden.WEIGHT, golden.WEIGHT, None)
    ]
    names = {rule["record"] for rule in rules(CANARY, source) if "record" in rule}
    assert names == {rule["record"] for rule in rules(CANARY) if "record" in rule}


@pytest.mark.parametrize("source", SOURCES)
def test_no_two_rules_look_alike(source: Source) -> None:
    for snapshot in (CANARY, POOLED, PLAIN):
        found = [
            (rule["record"], *sorted(rule["labels"].items())) for rule in rules(snapshot, source) if "record" in rule
        ]
        assert len(set(found)) == len(found)


def test_requests_and_failures() -> None:
    (requests,) = recorded(golden.REQUESTS)
    assert requests["expr"] == 'sum by (model, version, gpu_pool) (rate(inference_requests_total{model="llama"}[5m]))'
    (failures,) = recorded(golden.FAILURES)
    assert failures["expr"].endswith(f"\nor 0 * {requests['expr']}")
    assert " or rate(inference_errors_total" in failures["expr"]
    assert requests["labels"] == failures["labels"] == {"policy": "chat"}


def test_success_has_no_value_without_requests() -> None:
    (success,) = recorded(golden.SUCCESS)
    requests, failures = (f'version_pool:inference_{name}:rate5m{{policy="chat"}}' for name in ("requests", "failures"))
    assert success["expr"] == f"clamp_min(1 - {failures} / ({requests} > 0), 0)"


@pytest.mark.parametrize(
    ("source", "start"),
    [("extproc", "histogram_quantile(0.5, "), ("istio", "0.001 * histogram_quantile(0.5, ")],
)
def test_durations_are_seconds(source: Source, start: str) -> None:
    found = recorded(golden.DURATION, source=source)
    assert [one["labels"]["quantile"] for one in found] == ["0.5", "0.95", "0.99"]
    assert found[0]["expr"].startswith(start)
    assert found[0]["expr"].endswith(" >= 0"), "NaN without traffic is dropped"


@pytest.mark.parametrize("source", SOURCES)
def test_tokens_come_from_the_processor(source: Source) -> None:
    for name in (golden.TTFT, golden.TPOT, golden.TOKENS):
        for one in recorded(name, source=source):
            assert "inference_" in one["expr"]
    (tokens,) = recorded(golden.TOKENS, source=source)
    assert tokens["expr"].startswith("sum by (model, version, gpu_pool, type) (")


def test_weights_are_shares_of_those_that_answer() -> None:
    found = [(one["labels"]["version"], one["expr"]) for one in recorded(golden.WEIGHT)]
    assert found == [("v1", "vector(0.9)"), ("v2", "vector(0.1)")]
    third = policy(versions=(Version("a"), Version("b"), Version("c"), Version("m", 0, mirror=5)))
    found = [(one["labels"]["version"], one["expr"]) for one in recorded(golden.WEIGHT, Snapshot((third,)))]
    assert found == [(name, "vector(0.333333333)") for name in "abc"]


@pytest.mark.parametrize("snapshot", [PLAIN, MIRRORED])
def test_one_version_has_no_shares(snapshot: Snapshot) -> None:
    assert recorded(golden.SHARE, snapshot) == recorded(golden.WEIGHT, snapshot) == []


def test_an_alert_where_traffic_stops() -> None:
    alert = rules(CANARY)[-1]
    assert (alert["alert"], alert["for"]) == ("InferenceTrafficStopped", "5m")
    assert alert["labels"] == {"severity": "ticket", "policy": "chat"}
    busy, gone = alert["expr"].split("\nunless on (policy) ")
    assert busy.endswith("[1h])) > 0.1")
    assert gone == 'sum by (policy) (version_pool:inference_requests:rate5m{policy="chat"}) > 0'


def test_names_are_quoted() -> None:
    odd = Snapshot((Policy('q"', host="h", models=('a"b',)),))
    (success,) = recorded(golden.SUCCESS, odd)
    assert 'policy="q\\""' in success["expr"]
