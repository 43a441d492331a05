"""Alerts on the processor itself, by its own metrics and by Envoy's."""

from __future__ import annotations

from extproc.render.document import Doc
from extproc.render.source_names import Source

FAILED_OPEN = "envoy_http_ext_proc_aimesh_route_failure_mode_allowed"
"""Envoy's counter of requests that passed on without the processor's answer. Istio's proxies do not export it by
default."""
_NOT_AS_DECIDED = "not_as_decided"


def processor(source: Source) -> list[Doc]:
    """The alerting rules; the one on Envoy's counter only for the source `extproc`."""
    found = [
        _alert(
            "InferenceProcessorAbsent",
            "absent(extproc_policy_info)",
            "5m",
            "page",
            "No processor is running, or Prometheus scrapes none",
            "Requests go on unrouted, or get 503 where the mesh fails closed. See /readyz on the admin port.",
        ),
        _alert(
            "InferencePolicyReloadFailed",
            'sum(increase(extproc_policy_reloads_total{result="failure"}[1h])) > 0',
            "1m",
            "ticket",
            "A changed policy could not be loaded",
            "The last good one stays in force. /config on the admin port shows every problem with file and line.",
        ),
        _alert(
            "InferenceProcessorErrors",
            f'sum by (reason) (rate(extproc_errors_total{{reason!~"policy_reload|{_NOT_AS_DECIDED}"}}[5m])) > 0',
            "10m",
            "ticket",
            "The processor counts errors: {{ $labels.reason }}",
            "{{ $value | humanize }} a second. internal is a bug of ours, and the log has it; the others are messages "
            "that break the protocol, from a filter that is configured in another way than rendered.",
        ),
        _alert(
            "InferenceNotAsDecided",
            f'sum(rate(extproc_errors_total{{reason="{_NOT_AS_DECIDED}"}}[5m])) > 0',
            "10m",
            "page",
            "Requests go to other model servers than decided",
            "{{ $value | humanize }} a second, for longer than a reload takes. A route is not what the policy says: "
            "render it anew. They count for the version that they went to.",
        ),
        _alert(
            "InferenceProcessorSlow",
            "histogram_quantile(0.99, sum by (le) (rate(extproc_message_duration_seconds_bucket[5m]))) > 0.005",
            "15m",
            "ticket",
            "The processor is slow",
            "Of its messages 1 % take {{ $value | humanizeDuration }} or more, on the way of every request: large "
            "bodies, or too few cores.",
        ),
        _alert(
            "InferenceRequestsUnmatched",
            'sum(rate(inference_unmatched_total{reason="no_policy"}[5m]))\n'
            "/ (sum(rate(inference_requests_total[5m])) > 0) > 0.1",
            "15m",
            "ticket",
            "Requests name models that no policy owns",
            "{{ $value | humanizePercentage }} of all. They pass on unrouted.",
        ),
    ]
    found += [
        _alert(
            "InferenceVersionDown",
            "max by (policy, version, gpu_pool) (inference_target_up) == 0",
            "2m",
            "page",
            "No server of {{ $labels.policy }} {{ $labels.version }} can be reached",
            "Its users get another version, or 503 (`onVersionDown`). `extproc doctor` names the servers.",
        ),
        _alert(
            "InferencePoolFull",
            "max by (gpu_pool) (inference_pool_free) < 0.1",
            "10m",
            "ticket",
            "The GPU pool {{ $labels.gpu_pool }} is full",
            "Its queue or its KV cache has been at the limit for ten minutes: requests go to other pools where there "
            "are any, and wait here. Add servers, or see whether one version takes it all.",
        ),
    ]
    found += [
        _alert(
            "InferenceRolloutRolledBack",
            'max by (policy, version) (inference_rollout_phase{phase=~"RollingBack|Failed"}) == 1',
            "0m",
            "ticket",
            "The rollout of {{ $labels.policy }} to {{ $labels.version }} was rolled back",
            "A guard was broken, or somebody aborted it: `extproc rollout status` says which. It stays so until it is "
            "resumed, or leads to another version.",
        ),
        _alert(
            "InferenceRolloutPaused",
            'max by (policy, version) (inference_rollout_phase{phase="Paused"}) == 1',
            "10m",
            "ticket",
            "The rollout of {{ $labels.policy }} to {{ $labels.version }} is paused",
            "The version keeps its share, also where a guard is broken (`onFailure: pause`), until somebody resumes, "
            "promotes or aborts it.",
        ),
    ]
    if source == "extproc":
        found.append(
            _alert(
                "InferenceFailedOpen",
                f"sum(rate({FAILED_OPEN}[5m])) > 0",
                "2m",
                "page",
                "Requests go on without an answer of the processor",
                "{{ $value | humanize }} a second pass unrouted. See failed_open in the access log.",
            )
        )
    return found


def _alert(name: str, expr: str, lasting: str, severity: str, summary: str, description: str) -> Doc:
    return {
        "alert": name,
        "expr": expr,
        "for": lasting,
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "description": description},
    }
