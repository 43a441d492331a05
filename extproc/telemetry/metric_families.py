"""The families of metrics that the processor counts: their names, help texts, labels and bucket bounds."""

from __future__ import annotations

from typing import TypeAlias

from extproc.telemetry import rollout_gauges, serving_gauges
from extproc.telemetry.custom_series import samples

DURATION_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75),
    *(1, 1.5, 2, 2.5, 5, 7.5, 10, 15, 20, 30, 40, 60, 80, 120, 160, 320),
)
"""Seconds, from an embedding to a long generation. Neighbours differ by less than a canary may be slower."""
FIRST_TOKEN_BUCKETS = (
    *(0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75),
    *(1, 1.5, 2, 2.5, 5, 7.5, 10, 20, 40, 80),
)
"""Seconds, from a small warm model to a long prompt in a long queue; closest where objectives are set."""
PER_TOKEN_BUCKETS = (
    *(0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.0075, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05),
    *(0.06, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5),
)
"""Seconds between two tokens, from a thousand tokens a second to less than one in two seconds."""
QUEUE_BUCKETS = (0.01, 0.02, 0.04, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 1.5, 2.5, 5, 7.5, 10, 20, 45)
"""Seconds for which a request waits for an endpoint; more than three quarters of a message timeout are none."""
MESSAGE_BUCKETS = (0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1)
"""Seconds of the processor's time for one ext_proc message."""

Labels: TypeAlias = tuple[str, ...]

COUNTERS: dict[str, tuple[str, Labels]] = {
    "inference_requests": ("Inference requests by how they ended.", ("model", "version", "gpu_pool", "api", "code")),
    "inference_observed_requests": (
        "Answers that were read for times, tokens and errors: all, or a sample that stands for all.",
        ("model", "version", "gpu_pool"),
    ),
    "inference_observed_first_tokens": (
        "Streams that were read to their first token at least: all, or a sample that stands for all.",
        ("model", "version", "gpu_pool"),
    ),
    "inference_errors": (
        "Inferences that failed or were broken off, and whose fault it was.",
        ("model", "version", "gpu_pool", "reason"),
    ),
    "inference_tokens": (
        "Tokens of prompts (cached ones too), of answers, and those of prompts that were cached.",
        ("model", "version", "gpu_pool", "type", "estimated"),
    ),
    "inference_failovers": (
        "Requests that another version answered, since theirs was down.",
        ("model", "version", "gpu_pool"),
    ),
    "inference_diverted": (
        "Requests for which there was no room, by what took them: pool, version, policy; or refused.",
        ("policy", "version", "to"),
    ),
    "inference_picks": (
        "Requests for which an endpoint was to be picked, by what came of it.",
        ("policy", "version", "gpu_pool", "outcome"),
    ),
    "inference_picks_served": (
        "Requests with a picked endpoint that have ended, by who answered: picked, fallback, other, nobody.",
        ("policy", "version", "gpu_pool", "by"),
    ),
    "inference_queue_requests": (
        "Requests that found every endpoint saturated and were to wait for one, by what came of it.",
        ("policy", "outcome"),
    ),
    "inference_unmatched": ("Requests that passed on unrouted, by reason.", ("reason",)),
    "inference_rejected": ("Requests that were answered with an error and went no further, by its code.", ("code",)),
    "inference_caller_requests": ("Requests by the caller's verified identity.", ("caller",)),
    "extproc_errors": ("Failures of the processor, and messages that broke the protocol.", ("reason",)),
    "extproc_counted_requests": ("Requests by what counted them: Envoy's access log, or the observer.", ("by",)),
    "extproc_spans": ("Spans of inferences for the collector, by what became of them.", ("result",)),
    "extproc_policy_reloads": ("Attempts to load changed policy files.", ("result",)),
}
HISTOGRAMS: dict[str, tuple[str, Labels, tuple[float, ...]]] = {
    "inference_request_duration_seconds": (
        "From the request's arrival to the last byte of the response.",
        ("model", "version", "gpu_pool"),
        DURATION_BUCKETS,
    ),
    "inference_time_to_first_token_seconds": (
        "From the request's arrival to the first token of a streamed answer.",
        ("model", "version", "gpu_pool"),
        FIRST_TOKEN_BUCKETS,
    ),
    "inference_time_per_output_token_seconds": (
        "Between two tokens of a streamed answer, on its average.",
        ("model", "version", "gpu_pool", "estimated"),
        PER_TOKEN_BUCKETS,
    ),
    "inference_queue_seconds": (
        "For which requests waited for an endpoint with room, whatever came of it.",
        ("policy",),
        QUEUE_BUCKETS,
    ),
    "extproc_message_duration_seconds": ("Processor's time for one ext_proc message.", ("phase",), MESSAGE_BUCKETS),
}
"""By name: help text and labels (and bucket bounds)."""


def find_conflict(name: str, kind: str) -> str:
    """The built-in metric whose samples share a name with one of this name and type; empty where there is none."""
    if name.startswith("extproc_"):
        return "extproc_*"
    wanted = samples(name, kind)
    gauges = (*serving_gauges.NAMES, *rollout_gauges.NAMES)
    for built_in_kind, names in (("COUNTER", COUNTERS), ("HISTOGRAM", HISTOGRAMS), ("GAUGE", gauges)):
        for built_in in names:
            if wanted & samples(built_in, built_in_kind):
                return built_in
    return ""
