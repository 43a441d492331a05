"""What client, model servers, Envoy and processor each recorded of the demo's requests."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from extproc import headers
from extproc.demo.records import ReceivedRequest, Usage
from extproc.demo.traffic import Answer
from extproc.policy.snapshot import Snapshot
from extproc.render.envoy.clusters import cluster_name


class PolicyTarget(msgspec.Struct, frozen=True):
    """A target of a policy, with what is known of its requests in advance."""

    model: str
    version: str
    pool: str
    architecture: str
    weight: float
    """Of the version, as a share of 1."""
    upstream_model: str
    """The model's name in requests as they arrive at the model server."""
    endpoints: tuple[str, ...]
    cluster: str
    """Envoy's name for it."""


class Counters(msgspec.Struct, frozen=True):
    """Counts of Envoy and the processor, by the name of the target's cluster."""

    envoy: Mapping[str, int] = {}
    processor: Mapping[str, int] = {}
    unmatched: int = 0
    """Requests that no policy owned, as the processor counts them."""
    first_tokens: Mapping[str, tuple[int, float]] = {}
    """Streams and the sum of their times to first token in seconds, as the processor has them."""
    tokens: Mapping[str, tuple[int, int]] = {}
    """Tokens of input and output, as the processor has them."""


class Evidence(msgspec.Struct, frozen=True):
    """Everything that was recorded."""

    targets: Sequence[PolicyTarget]
    answers: Sequence[Answer]
    received: Sequence[ReceivedRequest]
    counters: Counters
    usages: Sequence[Usage] = ()

    def answers_to(self, *roles: str) -> list[Answer]:
        """The answers to requests of these roles."""
        return [a for a in self.answers if a.request.role in roles]

    def target_of(self, answer: Answer) -> PolicyTarget | None:
        """The target that the answer's headers name; None where the policies have no such target."""
        named = (answer.request.model, answer.headers.get(headers.MODEL_VERSION), answer.headers.get(headers.GPU_POOL))
        return next((a for a in self.targets if (a.model, a.version, a.pool) == named), None)

    def version_of(self, answer: Answer) -> str:
        """The version that the answer's headers name; empty where none."""
        return answer.headers.get(headers.MODEL_VERSION, "")

    def received_by_id(self) -> dict[str, list[ReceivedRequest]]:
        """What the model servers received, by the request's id."""
        found: dict[str, list[ReceivedRequest]] = defaultdict(list)
        for one in self.received:
            found[one.request_id].append(one)
        return found


def policy_targets(snapshot: Snapshot) -> list[PolicyTarget]:
    """Every target of every policy, in their order. For policies whose first model is no glob."""
    return [
        PolicyTarget(
            policy.models[0],
            version.name,
            target.pool,
            snapshot.pool_by_name[target.pool].gpu.architecture if target.pool else "",
            version.weight / sum(v.weight for v in policy.versions),
            version.model_rewrite or policy.models[0],
            target.endpoints,
            cluster_name(target),
        )
        for policy in snapshot.policies
        for version in policy.versions
        for target in snapshot.targets[policy.name, version.name]
    ]


def envoy_counts(stats: bytes) -> dict[str, int]:
    """Completed requests per cluster, from Envoy's ``/stats?format=json``."""
    found = {}
    for stat in msgspec.json.decode(stats)["stats"]:
        name = str(stat.get("name", ""))
        if name.startswith("cluster.") and name.endswith(".upstream_rq_completed"):
            found[name.removeprefix("cluster.").removesuffix(".upstream_rq_completed")] = int(stat["value"])
    return found


def counters(targets: Sequence[PolicyTarget], envoy: bytes, metrics: str) -> Counters:
    """From Envoy's ``/stats?format=json`` and the processor's ``/metrics``."""
    cluster = {(a.model, a.version, a.pool): a.cluster for a in targets}
    requests: Counter[str] = Counter()
    streams: Counter[str] = Counter()
    seconds: dict[str, float] = {}
    tokens: dict[str, Counter[str]] = defaultdict(Counter)
    unmatched = 0
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            of = sample.labels
            name = cluster.get((of.get("model", ""), of.get("version", ""), of.get("gpu_pool", "")), "")
            match sample.name:
                case "inference_requests_total" if name:
                    requests[name] += int(sample.value)
                case "inference_time_to_first_token_seconds_count" if name:
                    streams[name] += int(sample.value)
                case "inference_time_to_first_token_seconds_sum" if name:
                    seconds[name] = sample.value
                case "inference_tokens_total" if name:
                    tokens[name][of["type"]] += int(sample.value)
                case "inference_unmatched_total":
                    unmatched += int(sample.value)
    return Counters(
        envoy_counts(envoy),
        requests,
        unmatched,
        {name: (count, seconds[name]) for name, count in streams.items()},
        {name: (counts["input"], counts["output"]) for name, counts in tokens.items()},
    )
