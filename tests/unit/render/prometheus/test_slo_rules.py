"""Service level objectives: events, burn rates, and alerts that can fire at all."""

from __future__ import annotations

import pytest

from extproc.policy.snapshot import Objective, Slo
from extproc.render.prometheus.slo_rules import ALERTS, BAD, BURN, EVENTS, SPENT, Alert, factor, objectives
from tests.unit.render.snapshots import CANARY, Doc

CHAT = CANARY.policies[0]


def rules(slo: Slo) -> list[Doc]:
    return objectives(CHAT, slo)


def alerts(slo: Slo) -> list[Doc]:
    return [rule for rule in rules(slo) if "alert" in rule]


@pytest.mark.parametrize(
    ("alert", "days", "burn"),
    [
        (ALERTS[0], 30, 14.4),
        (ALERTS[1], 30, 6.0),
        (ALERTS[2], 30, 3.0),
        (ALERTS[3], 30, 1.0),
        (ALERTS[3], 7, 1.0),
        (ALERTS[0], 7, 3.36),
    ],
)
def test_burn_rates_are_those_of_the_workbook(alert: Alert, days: int, burn: float) -> None:
    assert factor(alert, days) == pytest.approx(burn)


def test_nothing_promised_nothing_recorded() -> None:
    assert rules(Slo()) == []


def test_events_of_each_objective() -> None:
    slo = Slo(99.9, first_token=Objective(0.5, 95.0), duration=Objective(10, 99.0))
    found = [rule for rule in rules(slo) if rule.get("record") in (EVENTS, BAD)]
    assert [(rule["record"], rule["labels"]["slo"]) for rule in found] == [
        (name, slo) for slo in ("availability", "time_to_first_token", "duration") for name in (EVENTS, BAD)
    ]
    by_slo = {rule["labels"]["slo"]: rule["expr"] for rule in found if rule["record"] == BAD}
    assert by_slo["availability"] == ('sum by (model, version) (version_pool:inference_failures:rate5m{policy="chat"})')
    assert 'inference_time_to_first_token_seconds_bucket{model="llama", le=~"0\\\\.5"}' in by_slo["time_to_first_token"]
    assert by_slo["duration"].startswith("clamp_min(")
    assert 'le=~"10(\\\\.0)?"' in by_slo["duration"]


def test_burn_rates_over_every_window_and_the_budget_spent() -> None:
    found = {rule["record"]: rule["expr"] for rule in rules(Slo(99.9, days=7)) if "record" in rule}
    windows = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
    assert [name for name in found if name.startswith(BURN)] == [f"{BURN}{window}" for window in windows]
    assert found[f"{BURN}5m"].endswith(" > 0) / 0.001")
    assert "[7d]" in found[SPENT]


def test_alerts_by_severity_and_windows() -> None:
    found = alerts(Slo(99.9))
    assert [(one["labels"]["severity"], one["labels"]["window"]) for one in found] == [
        ("page", "1h"),
        ("page", "6h"),
        ("ticket", "1d"),
        ("ticket", "3d"),
    ]
    fast = found[0]["expr"]
    assert fast.startswith(f'{BURN}1h{{policy="chat", slo="availability"}} > 14.4 and {BURN}5m{{')
    assert fast.endswith("[1h]) * 30 >= 10")
    assert {one["alert"] for one in found} == {"InferenceErrorBudgetBurn"}


@pytest.mark.parametrize(
    ("target", "windows"),
    [(99.9, ["1h", "6h", "1d", "3d"]), (90.0, ["6h", "1d", "3d"]), (80.0, ["1d", "3d"]), (50.0, ["3d"])],
)
def test_an_alert_that_can_not_fire_is_left_out(target: float, windows: list[str]) -> None:
    """A burn rate of 14.4 can't be reached where every tenth request may fail."""
    assert [one["labels"]["window"] for one in alerts(Slo(target))] == windows


@pytest.mark.parametrize(
    ("slo", "what"),
    [
        (Slo(99.0), "too many requests fail"),
        (Slo(first_token=Objective(0.5, 99.0)), "wait longer for their first token than 0.5 s"),
        (Slo(duration=Objective(2.5, 99.0)), "take longer than 2.5 s"),
    ],
)
def test_alerts_say_what_is_wrong(slo: Slo, what: str) -> None:
    assert alerts(slo)[0]["annotations"]["summary"].endswith(what)
    assert "promises 99 % within 30 days" in alerts(slo)[0]["annotations"]["description"]
