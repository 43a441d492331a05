"""Error budgets, by promtool: how fast they burn, which alert that is, and what is no alert."""

from __future__ import annotations

import pytest

from extproc.render.prometheus.rule_groups import rule_groups
from extproc.render.prometheus.slo_rules import ALERTS, factor
from tests.policy_documents import policy, snapshot_of
from tests.prometheus.conftest import STEP, Judge, steady

HOUR = 3600
FIRING = 'ALERTS{alertstate="firing", alertname="InferenceErrorBudgetBurn"}'


def _policy(slo: str) -> str:
    return (
        f"models: [llama]\nversions: [{{name: v1, weight: 9}}, {{name: v2, weight: 1}}]\nobservability: {{slo: {slo}}}"
    )


SNAPSHOT = snapshot_of(policy(_policy("{availability: 99.9}")))
SLOW = snapshot_of(policy(_policy("{timeToFirstToken: {under: 500ms, target: 95}}")))


def _counter(version: str, code: str) -> str:
    who = f'model="llama", version="{version}", gpu_pool="none", api="openai", code="{code}"'
    return f"inference_requests_total{{{who}}}"


def _fired(*alerts: tuple[str, str, str]) -> dict[str, float]:
    """By severity, window and version."""
    return {
        f'{{severity="{severity}", window="{window}", version="{version}"}}': 1 for severity, window, version in alerts
    }


BY_WINDOW = f"sum by (severity, window, version) ({FIRING})"


def _of(version: str, slo: str = "availability") -> str:
    return f'{{model="llama", policy="chat", slo="{slo}", version="{version}"}}'


def test_a_version_that_burns_its_budget_pages_and_another_does_not(judge: Judge) -> None:
    series = {
        _counter("v1", "200"): steady(10, HOUR),
        _counter("v1", "500"): steady(0.005, HOUR),
        _counter("v2", "200"): steady(0.95, HOUR),
        _counter("v2", "500"): steady(0.05, HOUR),
    }
    expected = {
        # 5 % fail where 0.1 % may; of v1 0.05 %.
        "version:inference_slo_burn:ratio5m": {_of("v1"): 0.4998, _of("v2"): 50},
        "version:inference_slo_burn:ratio1h": {_of("v1"): 0.4998, _of("v2"): 50},
        "version:inference_slo_budget_spent:ratio": {_of("v1"): 0.4998, _of("v2"): 50},
        BY_WINDOW: _fired(("page", "1h", "v2"), ("page", "6h", "v2"), ("ticket", "1d", "v2"), ("ticket", "3d", "v2")),
    }
    judge(SNAPSHOT, "extproc", series, "1h", expected)


def test_once_it_is_over_the_page_ends_though_the_hour_was_bad(judge: Judge) -> None:
    good, bad = steady(10, 2 * HOUR), f"0+{0.5 * STEP}x{HOUR // STEP} {0.5 * HOUR:g}x{HOUR // STEP}"
    series = {_counter("v1", "200"): good, _counter("v1", "502"): bad}
    page = f'sum by (window) ({FIRING[:-1]}, window="1h"}}'
    expected = {
        f"{page} offset 6m)": {'{window="1h"}': 1},
        f"{page})": {},
        "count(version:inference_slo_burn:ratio1h > 14.4)": {"{}": 1},
    }
    judge(SNAPSHOT, "extproc", series, "66m", expected)


def test_two_bad_minutes_in_a_good_hour_wake_nobody(judge: Judge) -> None:
    bad = f"0x{HOUR // STEP} {0.5 * STEP:g}+{0.5 * STEP:g}x4"
    series = {_counter("v1", "200"): steady(10, 2 * HOUR), _counter("v1", "502"): bad}
    expected = {
        "count(version:inference_slo_burn:ratio5m > 14.4)": {"{}": 1},
        f'count({FIRING[:-1]}, severity="page"}})': {},
    }
    judge(SNAPSHOT, "extproc", series, "62m", expected)


def test_a_slow_leak_is_a_ticket_and_no_page(judge: Judge) -> None:
    """Four times as fast as it may: more than 3 and 1, less than 6 and 14.4."""
    series = {_counter("v1", "200"): steady(10, HOUR), _counter("v1", "503"): steady(0.04, HOUR)}
    expected = {BY_WINDOW: _fired(("ticket", "1d", "v1"), ("ticket", "3d", "v1"))}
    judge(SNAPSHOT, "extproc", series, "1h", expected)


def test_nobody_is_woken_by_a_handful(judge: Judge) -> None:
    """A request every ten minutes, each of which fails: fewer than ten in the hour."""
    lonely = {_counter("v2", "500"): "0x19 " + " ".join(f"{n}x19" for n in range(1, 8))}
    expected = {BY_WINDOW: {}, "version:inference_slo_burn:ratio1h": {_of("v2"): 1000}}
    judge(SNAPSHOT, "extproc", lonely, "1h", expected)


def test_an_idle_version_has_no_burn_rate(judge: Judge) -> None:
    idle = {_counter("v1", "200"): "500x120", _counter("v1", "500"): "500x120"}
    judge(SNAPSHOT, "extproc", idle, "1h", {'{__name__=~"version:inference_slo_b.*ratio.*"}': {}, FIRING: {}})


@pytest.mark.parametrize(("slow", "burn"), [(0.04, 0.8), (0.1, 2)])
def test_answers_that_begin_too_late_burn_too(slow: float, burn: float, judge: Judge) -> None:
    who = 'model="llama", version="v1", gpu_pool="none"'
    name = "inference_time_to_first_token_seconds"
    series = {
        f"{name}_count{{{who}}}": steady(10, HOUR),
        f'{name}_bucket{{{who}, le="0.4"}}': steady(1, HOUR),
        f'{name}_bucket{{{who}, le="0.5"}}': steady(10 * (1 - slow), HOUR),
        f'{name}_bucket{{{who}, le="+Inf"}}': steady(10, HOUR),
    }
    expected = {
        "version:inference_slo_burn:ratio1h": {_of("v1", "time_to_first_token"): burn},
        BY_WINDOW: _fired(("ticket", "3d", "v1")) if burn > 1 else {},
    }
    judge(SLOW, "istio", series, "1h", expected)


@pytest.mark.parametrize(
    ("days", "factors"),
    [(30, [14.4, 6, 3, 1]), (28, [13.44, 5.6, 2.8, 1]), (7, [3.36, 1.4, 1, 1]), (90, [43.2, 18, 9, 3])],
)
def test_the_windows_are_the_workbook_s_and_the_factors_follow_the_promise(days: int, factors: list[float]) -> None:
    assert [factor(alert, days) for alert in ALERTS] == pytest.approx(factors)


@pytest.mark.parametrize(
    ("target", "windows"),
    [(99.9, ["1h", "6h", "1d", "3d"]), (93, ["6h", "1d", "3d"]), (70, ["1d", "3d"]), (60, ["3d"])],
)
def test_no_alert_that_could_never_fire(target: float, windows: list[str]) -> None:
    """At 90 % a budget burns ten times as fast as it may at the most: 14.4 times would need more than all to fail."""
    groups = rule_groups(snapshot_of(policy(_policy(f"{{availability: {target}}}"))), "extproc")
    (slo,) = (group for group in groups if group["name"] == "aimesh/chat/slo")
    assert [rule["labels"]["window"] for rule in slo["rules"] if "alert" in rule] == windows


def test_a_policy_without_a_promise_has_no_such_rules() -> None:
    snapshot = snapshot_of(policy("models: [llama]"))
    assert [group["name"] for group in rule_groups(snapshot, "extproc")] == ["aimesh/chat", "aimesh"]
