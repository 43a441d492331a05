"""Rules for service level objectives: how fast each version burns its error budget, and alerts on that.

The alerts are those of the SRE Workbook (Google, chapter 5), multi-window and multi-burn-rate. A burn rate of 1 uses up
the budget exactly within the policy's window. Every window is a sum over the recorded five-minute rates, so that long
windows read only one series per version.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from extproc.policy.snapshot import Objective, Policy, Slo
from extproc.render.document import Doc
from extproc.render.prometheus.golden_rules import EVALUATION_INTERVAL, FAILURES, MIN_FAILURES, REQUESTS, record
from extproc.render.prometheus.metric_sources import inference
from extproc.render.prometheus.promql import bound, number, rate, select, text

EVENTS = "version:inference_slo_events:rate5m"
BAD = "version:inference_slo_bad_events:rate5m"
BURN = "version:inference_slo_burn:ratio"
"""Prefix of the names; the window follows, as in ``…ratio1h``."""
SPENT = "version:inference_slo_budget_spent:ratio"
AVAILABILITY, TTFT, DURATION = "availability", "time_to_first_token", "duration"
"""Values of the label ``slo``."""


class Alert(msgspec.Struct, frozen=True):
    """Fires when the burn rate over both windows uses up ``share`` of the budget within the long one."""

    severity: str
    long: str
    hours: int
    short: str
    share: float


ALERTS = (
    Alert("page", "1h", 1, "5m", 0.02),
    Alert("page", "6h", 6, "30m", 0.05),
    Alert("ticket", "1d", 24, "2h", 0.10),
    Alert("ticket", "3d", 72, "6h", 0.10),
)
_WINDOWS = ("30m", "1h", "2h", "6h", "1d", "3d")


class _Promise(msgspec.Struct, frozen=True):
    slo: str
    target: float
    failing: str
    """What bad events do, as the end of "too many requests …"."""

    @property
    def budget(self) -> float:
        """The share of events that may be bad, from 0 to 1."""
        return 1 - self.target / 100


def factor(alert: Alert, days: int) -> float:
    """The burn rate that uses up the alert's share within its long window; at least 1: below that the budget lasts."""
    return max(1.0, alert.share * days * 24 / alert.hours)


def objectives(policy: Policy, slo: Slo) -> list[Doc]:
    """The rules of one policy in evaluation order: each may use those before it."""
    found: list[Doc] = []
    for promise, rules in _promises(policy, slo):
        found += rules
        found += _burning(policy, promise, slo)
        found += _alerts(policy, promise, slo)
    return found


def _promises(policy: Policy, slo: Slo) -> Iterator[tuple[_Promise, list[Doc]]]:
    if slo.availability is not None:
        every, bad = (select(name, policy=policy.name) for name in (REQUESTS, FAILURES))
        of = {"policy": policy.name, "slo": AVAILABILITY}
        rules = [
            record(EVENTS, f"sum by (model, version) ({every})", **of),
            record(BAD, f"sum by (model, version) ({bad})", **of),
        ]
        yield _Promise(AVAILABILITY, slo.availability, "fail"), rules
    if slo.first_token is not None:
        failing = f"wait longer for their first token than {number(slo.first_token.under)} s"
        rules = _slower(policy, TTFT, "inference_time_to_first_token_seconds", slo.first_token)
        yield _Promise(TTFT, slo.first_token.target, failing), rules
    if slo.duration is not None:
        failing = f"take longer than {number(slo.duration.under)} s"
        rules = _slower(policy, DURATION, "inference_request_duration_seconds", slo.duration)
        yield _Promise(DURATION, slo.duration.target, failing), rules


def _slower(policy: Policy, name: str, metric: str, objective: Objective) -> list[Doc]:
    """Events and those slower than the objective, by the processor's histogram, which has a bucket with that bound."""
    models, of = inference(policy), {"policy": policy.name, "slo": name}

    def by_version(selector: str) -> str:
        return f"sum by (model, version) ({rate(selector)})"

    every = by_version(select(f"{metric}_count", models))
    fast = by_version(select(f"{metric}_bucket", models, f"le=~{text(bound(objective.under))}"))
    return [
        record(EVENTS, every, **of),
        record(BAD, f"clamp_min({every} - {fast}, 0)", **of),
    ]


def _burning(policy: Policy, promise: _Promise, slo: Slo) -> Iterator[Doc]:
    of = {"policy": policy.name, "slo": promise.slo}
    bad, every, budget = select(BAD, **of), select(EVENTS, **of), number(promise.budget)
    yield record(f"{BURN}5m", f"{bad} / ({every} > 0) / {budget}", **of)
    for window in (*_WINDOWS, f"{slo.days}d"):
        name = SPENT if window == f"{slo.days}d" else f"{BURN}{window}"
        burn = f"sum_over_time({bad}[{window}]) / (sum_over_time({every}[{window}]) > 0) / {budget}"
        yield record(name, burn, **of)


def _alerts(policy: Policy, promise: _Promise, slo: Slo) -> Iterator[Doc]:
    of = {"policy": policy.name, "slo": promise.slo}
    for alert in ALERTS:
        burn = factor(alert, slo.days)
        if burn * promise.budget >= 1:
            continue  # this burn rate can't be reached, even if every event is bad
        fast = " and ".join(f"{select(BURN + window, **of)} > {number(burn)}" for window in (alert.long, alert.short))
        enough = f"sum_over_time({select(BAD, **of)}[{alert.long}]) * {EVALUATION_INTERVAL} >= {MIN_FAILURES}"
        yield {
            "alert": "InferenceErrorBudgetBurn",
            "expr": f"{fast}\nand {enough}",
            "labels": {"severity": alert.severity, "window": alert.long, **of},
            "annotations": {
                "summary": f"{policy.name} {{{{ $labels.version }}}}: too many requests {promise.failing}",
                "description": (
                    f"Version {{{{ $labels.version }}}} of {{{{ $labels.model }}}} (policy {policy.name}) promises "
                    f"{number(promise.target)} % within {slo.days} days. Over the last {alert.long} more requests "
                    f"{promise.failing} than it allows: it burns its error budget {{{{ $value | humanize }}}} times as "
                    f"fast as it may. See x-model-version in the access logs, and consider another weight."
                ),
            },
        }
