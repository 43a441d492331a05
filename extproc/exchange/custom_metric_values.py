"""Values of a policy's custom metrics: read from one response, made into samples."""

from __future__ import annotations

import math

from extproc.bodies.json_scan import scalar_at
from extproc.exchange.notes import CustomSample, Observed
from extproc.headers import Headers
from extproc.policy.custom_metric import (
    CACHED_TOKENS,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    REQUESTS,
    SECONDS,
    CustomMetric,
    Source,
)

_MAX_NUMBER = 64
"""Characters of a number."""


class CustomMetricValues:
    """The numbers in the headers and the body of one response that are sources of metrics."""

    __slots__ = ("_bodies", "_headers", "found")

    def __init__(self, metrics: tuple[CustomMetric, ...]) -> None:
        sources = {source for metric in metrics for source in (metric.source, metric.per)}
        self._headers = tuple(source for source in sources if source.header)
        self._bodies = tuple((source, _needle(source.body[-1])) for source in sources if source.body)
        self.found: dict[Source, float] = {}

    @property
    def reads_documents(self) -> bool:
        """Some are in the body."""
        return bool(self._bodies)

    def head(self, headers: Headers) -> None:
        """The response's headers."""
        for source in self._headers:
            self._note(source, headers.text(source.header))

    def document(self, data: bytes) -> None:
        """The response's body, or one event of it: JSON, or nothing for us."""
        for source, key in self._bodies:
            if key in data:  # most events of a stream are done with here
                self._note(source, scalar_at(data, source.body) or "")

    def forget(self) -> None:
        """Drops values from documents, before the next answer of the same response."""
        for source, _ in self._bodies:
            self.found.pop(source, None)

    def _note(self, source: Source, text: str) -> None:
        value = number(text)
        if value is not None:
            self.found[source] = value


def _needle(key: str) -> bytes:
    """What a document must hold that has this key; nothing where it may be written in several ways, or be an index."""
    plain = key.isascii() and key.isprintable() and not key.isdecimal() and not set(key) & set('"\\/')
    return key.encode() if plain else b""


def number(text: str) -> float | None:
    """A number of zero or more in decimal; None where ``text`` is none."""
    if not text or len(text) > _MAX_NUMBER or "_" in text:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def custom_samples(
    metrics: tuple[CustomMetric, ...], observed: Observed, gpu: str, values: dict[Source, float]
) -> tuple[CustomSample, ...]:
    """A sample of each metric of which every number is known. ``gpu``: the type of GPU that answered, or ``NONE``."""
    known = values | _counted(observed)
    found = []
    for metric in metrics:
        amount, per = known.get(metric.source), known.get(metric.per)
        if amount is not None and per is not None:
            labels = tuple(_label(name, observed, gpu) for name in metric.labels)
            found.append(CustomSample(metric, labels, amount, per, observed.stands_for))
    return tuple(found)


def _counted(observed: Observed) -> dict[Source, float]:
    """Estimates count: a throughput that is nearly right says more than none."""
    tokens = {
        INPUT_TOKENS: observed.input_tokens,
        OUTPUT_TOKENS: observed.output_tokens,
        CACHED_TOKENS: observed.cached_tokens,
    }
    if observed.input_tokens is not None and observed.cached_tokens is None:
        tokens[CACHED_TOKENS] = 0  # a server that has cached nothing often says nothing of it
    return {REQUESTS: 1.0, SECONDS: 0.0} | {source: value for source, value in tokens.items() if value is not None}


def _label(name: str, observed: Observed, gpu: str) -> str:
    match name:
        case "model_name":
            return observed.model
        case "model_version":
            return observed.version
        case "gpu_type":
            return gpu
        case "gpu_pool":
            return observed.gpu_pool
        case "policy":
            return observed.policy
        case "api":
            return observed.api
        case _:
            return observed.code
