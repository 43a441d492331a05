"""Alerts on the processor itself, and on canaries, by promtool: each fires for what it names, and for nothing else."""

from __future__ import annotations

import pytest

from extproc.render.prometheus.canary_rules import ZSCORE
from extproc.render.prometheus.processor_rules import FAILED_OPEN
from tests.policy_documents import policy, snapshot_of
from tests.prometheus.conftest import STEP, Judge, steady

LONG = 2400


def _duration(version: str, bound: str) -> str:
    who = f'model="llama", version="{version}", gpu_pool="none", le="{bound}"'
    return f"inference_request_duration_seconds_bucket{{{who}}}"


SNAPSHOT = snapshot_of(policy("models: [llama]\nversions: [{name: v1, weight: 9}, {name: v2, weight: 1}]"))
FIRING = 'count by (alertname) (ALERTS{alertstate="firing"})'
WELL = {
    'extproc_policy_info{generation="1"}': f"1x{LONG // STEP}",
    'extproc_policy_reloads_total{result="failure"}': f"0x{LONG // STEP}",
    'extproc_policy_reloads_total{result="success"}': steady(0.1, LONG),
    'extproc_errors_total{reason="internal"}': f"5x{LONG // STEP}",
    'extproc_message_duration_seconds_bucket{phase="request_headers", le="0.001"}': steady(100, LONG),
    'extproc_message_duration_seconds_bucket{phase="request_headers", le="0.01"}': steady(100, LONG),
    'extproc_message_duration_seconds_bucket{phase="request_headers", le="+Inf"}': steady(100, LONG),
    'inference_requests_total{model="llama", version="v1", gpu_pool="none", api="openai", code="200"}': steady(9, LONG),
    'inference_requests_total{model="llama", version="v2", gpu_pool="none", api="openai", code="200"}': steady(1, LONG),
    'inference_unmatched_total{reason="no_policy"}': steady(0.5, LONG),
    'inference_unmatched_total{reason="no_api"}': steady(50, LONG),
    'inference_target_up{policy="chat", version="v1", gpu_pool="none"}': f"1x{LONG // STEP}",
    'inference_target_up{policy="chat", version="v2", gpu_pool="none"}': f"0x2 1x{LONG // STEP}",  # it starts
    'inference_pool_free{gpu_pool="west"}': f"0.4x{LONG // STEP}",
    'inference_rollout_phase{policy="chat", version="v2", phase="Progressing"}': f"1x{LONG // STEP}",
    'inference_rollout_phase{policy="chat", version="v2", phase="Paused"}': f"0x30 1x10 0x{LONG // STEP}",  # in passing
    'inference_rollout_phase{policy="chat", version="v2", phase="Failed"}': f"0x{LONG // STEP}",
    FAILED_OPEN: f"3x{LONG // STEP}",
    # Both versions alike: P95 is 0.95 s of the one, and of the other 1.25 times that.
    _duration("v1", "1"): steady(9, LONG),
    _duration("v1", "+Inf"): steady(9, LONG),
    _duration("v2", "1"): steady(0.8, LONG),
    _duration("v2", "1.25"): steady(1, LONG),
    _duration("v2", "+Inf"): steady(1, LONG),
}


def test_all_is_well(judge: Judge) -> None:
    """Nothing fails: the canary is no worse, which is 0 and not 0/0."""
    judge(SNAPSHOT, "extproc", WELL, "35m", {FIRING: {}, ZSCORE: {'{policy="chat", version="v2"}': 0}})


@pytest.mark.parametrize(
    ("alert", "series"),
    [
        ("InferenceProcessorAbsent", {'extproc_policy_info{generation="1"}': "_x80"}),
        ("InferencePolicyReloadFailed", {'extproc_policy_reloads_total{result="failure"}': "0x40 1x40"}),
        ("InferenceProcessorErrors", {'extproc_errors_total{reason="internal"}': steady(0.1, LONG)}),
        ("InferenceNotAsDecided", {'extproc_errors_total{reason="not_as_decided"}': steady(0.1, LONG)}),
        (
            "InferenceProcessorSlow",
            {
                'extproc_message_duration_seconds_bucket{phase="request_headers", le="0.001"}': steady(90, LONG),
                'extproc_message_duration_seconds_bucket{phase="request_headers", le="0.01"}': steady(99.5, LONG),
            },
        ),
        ("InferenceRequestsUnmatched", {'inference_unmatched_total{reason="no_policy"}': steady(2, LONG)}),
        (
            "InferenceVersionDown",
            {'inference_target_up{policy="chat", version="v1", gpu_pool="none"}': f"1x20 0x{LONG // STEP}"},
        ),
        ("InferencePoolFull", {'inference_pool_free{gpu_pool="west"}': f"0.05x{LONG // STEP}"}),
        (
            "InferenceRolloutPaused",
            {'inference_rollout_phase{policy="chat", version="v2", phase="Paused"}': f"1x{LONG // STEP}"},
        ),
        (
            "InferenceRolloutRolledBack",
            {'inference_rollout_phase{policy="chat", version="v2", phase="Failed"}': f"0x40 1x{LONG // STEP}"},
        ),
        ("InferenceFailedOpen", {FAILED_OPEN: steady(1, LONG)}),
    ],
)
def test_what_goes_wrong_is_told_and_nothing_else(alert: str, series: dict[str, str], judge: Judge) -> None:
    judge(SNAPSHOT, "extproc", WELL | series, "35m", {FIRING: {f'{{alertname="{alert}"}}': 1}})


@pytest.mark.parametrize(("failing", "fires"), [(0.004, False), (0.03, True)])
def test_a_canary_that_fails_more_often_than_chance_would_have_it(failing: float, fires: bool, judge: Judge) -> None:
    """v2 gets one request a second; v1 fails once in a thousand requests. In half an hour 7 failures of 1800 instead of
    2 prove little, 54 do."""
    series = {
        'inference_requests_total{model="llama", version="v1", gpu_pool="none", api="openai", code="503"}': steady(
            0.009, LONG
        ),
        'inference_requests_total{model="llama", version="v2", gpu_pool="none", api="openai", code="503"}': steady(
            failing, LONG
        ),
    }
    judge(
        SNAPSHOT, "extproc", WELL | series, "35m", {FIRING: {'{alertname="InferenceCanaryFails"}': 1} if fires else {}}
    )


@pytest.mark.parametrize(("share", "fires"), [(None, True), (1.0, True), (1 / 64, False), (0.0, True)])
def test_failures_of_a_sample_prove_no_more_than_it_holds(share: float | None, fires: bool, judge: Judge) -> None:
    """54 failures of 1800 answers are many; but where one answer in 64 was read, they were one failure. Where none was
    read, or nobody says how many, all failures are Envoy's own count.
    """
    place = 'model="llama", gpu_pool="none", version='
    series = {f'inference_errors_total{{{place}"v2", reason="error_in_stream"}}': steady(0.03, LONG)}
    if share is not None:
        series |= {
            f'inference_observed_requests_total{{{place}"{version}"}}': steady(share * rate, LONG)
            for version, rate in (("v1", 9), ("v2", 1))
        }
    judge(
        SNAPSHOT, "extproc", WELL | series, "35m", {FIRING: {'{alertname="InferenceCanaryFails"}': 1} if fires else {}}
    )


def test_an_alert_says_what_and_how_much(judge: Judge) -> None:
    series = WELL | {FAILED_OPEN: steady(1.5, LONG)}
    told = {
        "exp_labels": {"severity": "page"},
        "exp_annotations": {
            "summary": "Requests go on without an answer of the processor",
            "description": "1.5 a second pass unrouted. See failed_open in the access log.",
        },
    }
    alerts = [{"eval_time": "35m", "alertname": "InferenceFailedOpen", "exp_alerts": [told]}]
    judge(SNAPSHOT, "extproc", series, "35m", {}, alerts)
