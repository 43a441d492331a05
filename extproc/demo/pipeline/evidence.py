"""What everybody recorded of the pipeline's requests: client, services, Envoy, processor, and their spans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from extproc import headers
from extproc.demo.evidence import PolicyTarget
from extproc.demo.pipeline.expected_trace import Path, expected_paths, paths
from extproc.demo.pipeline.jaeger import Stored
from extproc.demo.pipeline.stages import (
    FEATURES,
    GATEWAY,
    HOSTED,
    POSTPROCESS,
    PREPROCESS,
    PROCESSOR,
    ROUTER,
    SIDECARS,
    STAGES,
    Arrival,
)
from extproc.demo.pipeline.traffic import MODELS, Answer
from extproc.demo.records import Usage
from extproc.render.envoy.envoy_options import NAMESPACE
from extproc.telemetry.spans import Span, Trace, traces
from extproc.telemetry.trace_view import Hop, hops

ACCESS_LOG, STATISTICS = "Envoy's access log", "Envoy's statistics"
"""Who tells: keys of ``Evidence.texts``."""
_EVERY = (GATEWAY, PREPROCESS, FEATURES, ROUTER, POSTPROCESS)
"""Services that every request passes."""
_PREFIXES = {name: name for name in (GATEWAY, *SIDECARS)} | {ROUTER: NAMESPACE}
"""Of each listener's statistics."""


class Counted(msgspec.Struct, frozen=True):
    """Requests by service, as Envoy and the processor count them."""

    envoy: Mapping[str, int] = {}
    processor: Mapping[str, int] = {}
    tokens: Mapping[str, tuple[int, int]] = {}
    """Input and output, as the processor has them."""
    shed: int = 0
    """Answers that it did not watch to their ends, since it could not keep up: on a machine that stood still."""


class Evidence(msgspec.Struct, frozen=True, dict=True):
    """Everything that was recorded."""

    answers: Sequence[Answer]
    spans: Sequence[Span]
    """The client's too."""
    arrivals: Sequence[Arrival]
    usages: Sequence[Usage]
    counted: Counted
    targets: Sequence[PolicyTarget]
    secrets: Mapping[str, str]
    """What nobody must tell, by what it is."""
    texts: Mapping[str, bytes]
    """All that is told to others, by who tells it."""
    jaeger: Stored | None = None
    """What a real Jaeger has made of the spans, where there is one."""

    @cached_property
    def traces(self) -> dict[str, Trace]:
        """By their ids."""
        return traces(self.spans)

    @cached_property
    def hops(self) -> list[Hop]:
        """Every call from one service to another, in the order of who is called; the hosted model has its service's
        name.
        """
        renamed = {self.target(HOSTED).cluster: HOSTED}
        order = {name: at for at, name in enumerate(STAGES)}
        found = [
            msgspec.structs.replace(hop, callee=renamed.get(hop.callee, hop.callee))
            for trace in self.traces.values()
            for hop in hops(trace)
        ]
        return sorted(found, key=lambda hop: order.get(hop.callee, len(order)))

    def trace_of(self, answer: Answer) -> Trace:
        """The spans of this request's trace."""
        return self.traces.get(answer.ask.trace, ())

    @cached_property
    def unwatched(self) -> frozenset[str]:
        """Traces that lack the processor's span and nothing else; none where these are more than it has shed."""
        found = frozenset(
            answer.ask.trace
            for answer in self.answers
            if paths(self.trace_of(answer)) == [path for path in expected_paths(answer.ask.service) if not _ours(path)]
        )
        return found if len(found) <= self.counted.shed else frozenset()

    @property
    def watched(self) -> list[Answer]:
        """The answers that the processor has read to their ends."""
        return [answer for answer in self.answers if answer.ask.trace not in self.unwatched]

    def target(self, service: str) -> PolicyTarget:
        """What the policy says of a model's service."""
        return next(one for one in self.targets if one.model == MODELS[service])

    def routing(self, service: str) -> Mapping[str, tuple[str, ...]]:
        """The routing headers that the processor has to set for this model."""
        target = self.target(service)
        values = (target.model, target.version, target.pool, target.architecture)
        names = (headers.MODEL_NAME, headers.MODEL_VERSION, headers.GPU_POOL, headers.GPU_ARCHITECTURE)
        return {name: (value,) for name, value in zip(names, values, strict=True) if value}

    def asked(self) -> Counter[str]:
        """Requests by each service that they had to pass, as the client knows it."""
        found = Counter(answer.ask.service for answer in self.answers)
        return found + Counter(dict.fromkeys(_EVERY, len(self.answers)))

    def served(self, service: str) -> list[Span]:
        """The spans of what this service answered; of the hosted model the router's calls."""
        return [hop.served for hop in self.hops if hop.callee == service]


def _ours(path: Path) -> bool:
    return path[-1] == (PROCESSOR, "client")


def counted(targets: Sequence[PolicyTarget], stats: bytes, metrics: str) -> Counted:
    """From Envoy's ``/stats?format=json`` and the processor's ``/metrics``."""
    service = {model: name for name, model in MODELS.items()}
    (hosted,) = (one.cluster for one in targets if one.model == MODELS[HOSTED])
    names = {f"http.{prefix}.downstream_rq_completed": name for name, prefix in _PREFIXES.items()}
    names[f"cluster.{hosted}.upstream_rq_completed"] = HOSTED
    found = {one.get("name", ""): one.get("value") for one in msgspec.json.decode(stats)["stats"]}
    requests: Counter[str] = Counter()
    tokens: dict[str, Counter[str]] = {name: Counter() for name in MODELS}
    shed = 0
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            if sample.name == "extproc_errors_total" and sample.labels["reason"] == "observer_overload":
                shed = int(sample.value)
            if name := service.get(sample.labels.get("model", "")):
                if sample.name == "inference_requests_total":
                    requests[name] += int(sample.value)
                elif sample.name == "inference_tokens_total":
                    tokens[name][sample.labels["type"]] += int(sample.value)
    requests[ROUTER] = requests.total()
    return Counted(
        {name: int(found.get(stat) or 0) for stat, name in names.items()},
        requests,
        {name: (each["input"], each["output"]) for name, each in tokens.items()},
        shed,
    )
