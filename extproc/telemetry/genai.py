"""Observed exchanges as OpenTelemetry's semantic conventions for generative AI name them: spans and metrics.

Source: open-telemetry/semantic-conventions-genai (gen-ai-spans.md, gen-ai-metrics.md), in development as of 1.41.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import msgspec

from extproc.apis import TABLE
from extproc.exchange.notes import BROKEN_OFF, CLIENT_ERROR, SHED, Observed, ObservedPick
from extproc.policy.snapshot import NONE, OTHER
from extproc.telemetry.histogram import Histogram

Attributes: TypeAlias = dict[str, str | int | float | bool]

_PROVIDERS = {
    "azure": "azure.ai.openai",
    "gemini": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
    "bedrock": "aws.bedrock",
    "sagemaker": "aws.sagemaker",
}
"""``gen_ai.provider.name`` by API, where the conventions define one. It names the API, not who runs the server."""

_OPERATIONS_BY_NAME = {
    "chat": ("chat.completions", "responses", "responses.compact", "messages", "chat", "converse", "converse-stream"),
    "text_completion": ("completions", "complete", "generate", "generate_stream"),
    "embeddings": ("embeddings", "embed", "embedContent", "batchEmbedContents"),
    "generate_content": ("generateContent", "streamGenerateContent", "batchGenerateContent"),
}
_OPERATION_NAMES = {row.operation: row.operation for row in TABLE} | {
    operation: name for name, operations in _OPERATIONS_BY_NAME.items() for operation in operations
}

_ENDS_WITHOUT_FAULT = ("client_left", "client_stalled", "idle", BROKEN_OFF, CLIENT_ERROR, SHED)
"""Values of ``Observed.error`` with which a span has not failed: they are not the model server's."""


def is_inference(observed: Observed) -> bool:
    """Whether the exchange belongs to a known inference API."""
    return observed.api not in (NONE, OTHER)


def has_span(observed: Observed, *, child: bool) -> bool:
    """Whether the exchange gets a span. ``child``: the context of a parent span is known.

    The duration must be known, or the exchange be a refusal (4xx, 5xx), which takes no time. A refusal without a parent
    gets none: it would be a trace of that span alone, with no parent's decision on sampling. Nor does an answer get one
    that was not drawn to be read to its end.
    """
    timed = observed.seconds is not None or (child and observed.code[:1] in ("4", "5"))
    return timed and observed.read_to_end


def operation(observed: Observed) -> str:
    """``gen_ai.operation.name``; our operation where the conventions define none. Always of a closed set."""
    return _OPERATION_NAMES.get(observed.operation, "inference")


def provider(observed: Observed) -> str:
    """``gen_ai.provider.name``; the name of the API where the conventions define none."""
    return _PROVIDERS.get(observed.api, observed.api)


def error_type(observed: Observed) -> str:
    """``error.type``; empty without a known error."""
    if observed.code[:1] in ("4", "5"):
        return observed.code
    return observed.error


def is_failed_span(observed: Observed) -> bool:
    """Whether the span's status is ``Error``."""
    return bool(error_type(observed)) and error_type(observed) not in _ENDS_WITHOUT_FAULT


def span_name(observed: Observed) -> str:
    """``chat llama-3-8b``, with the model as the client names it."""
    return f"{operation(observed)} {observed.asked or _named(observed.model)}".rstrip()


def attributes(observed: Observed) -> Attributes:
    """Attributes of the span, without unknown ones. Estimated output tokens have an attribute of their own."""
    reported = not observed.estimated
    values: dict[str, str | int | float | bool | None] = {
        "gen_ai.operation.name": operation(observed),
        "gen_ai.provider.name": provider(observed),
        "gen_ai.request.model": observed.asked or _named(observed.model),
        "gen_ai.request.stream": observed.streamed or None,
        "gen_ai.usage.input_tokens": observed.input_tokens,
        "gen_ai.usage.output_tokens": observed.output_tokens if reported else None,
        "gen_ai.usage.cache_read.input_tokens": observed.cached_tokens,
        "error.type": error_type(observed),
        "http.response.status_code": int(observed.code) if observed.code.isdecimal() and observed.code != "0" else None,
        "aimesh.api": observed.api,
        "aimesh.policy": observed.policy,
        "aimesh.version": _named(observed.version),
        "aimesh.gpu_pool": _named(observed.gpu_pool),
        "aimesh.cohort": observed.cohort,
        "aimesh.caller": observed.caller,
        **_of_pick(observed.pick),
        "aimesh.time_to_first_token": observed.first_token,
        "aimesh.time_per_output_token": observed.per_token,
        "aimesh.output_tokens_estimated": None if reported else observed.output_tokens,
    }
    return {key: value for key, value in values.items() if value is not None and value != ""}


def _of_pick(pick: ObservedPick | None) -> dict[str, str]:
    if pick is None:
        return {}
    return {
        "aimesh.picking.by": pick.by,
        "aimesh.picking.endpoint": pick.picked,
        "aimesh.picking.served": pick.served,
        "aimesh.picking.outcome": pick.outcome,
    }


def _named(label: str) -> str:
    """The label's value; empty where it stands for no name."""
    return "" if label in (NONE, OTHER) else label


REQUEST_BOUNDS = tuple(0.01 * 2**n for n in range(14))
FIRST_TOKEN_BOUNDS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
PER_TOKEN_BOUNDS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKEN_BOUNDS = tuple(float(4**n) for n in range(14))


class Instrument(msgspec.Struct, frozen=True):
    """A histogram that the conventions define. ``bounds``: inclusive upper bounds, as they recommend."""

    name: str
    unit: str
    description: str
    bounds: tuple[float, ...]


REQUEST = Instrument("gen_ai.server.request.duration", "s", "From the routed request to its end.", REQUEST_BOUNDS)
FIRST_TOKEN = Instrument(
    "gen_ai.server.time_to_first_token", "s", "From the routed request to the first token.", FIRST_TOKEN_BOUNDS
)
PER_TOKEN = Instrument("gen_ai.server.time_per_output_token", "s", "Between two output tokens.", PER_TOKEN_BOUNDS)
TOKENS = Instrument("gen_ai.client.token.usage", "{token}", "Tokens of one request.", TOKEN_BOUNDS)


class Measurements:
    """The conventions' metrics since the start. Written by the event loop's thread; any thread may read.

    Not computed from ``Metrics``, whose labels lack the required attributes operation, provider and error. The value of
    ``gen_ai.request.model`` is the policy's pattern, so that clients can't make up series.
    """

    def __init__(self) -> None:
        self._histograms: dict[Instrument, dict[tuple[tuple[str, str], ...], Histogram]] = {
            instrument: {} for instrument in (REQUEST, FIRST_TOKEN, PER_TOKEN, TOKENS)
        }

    def note(self, observed: Observed) -> None:
        """Counts a finished exchange, for all that it stands for."""
        attributes = (
            ("gen_ai.operation.name", operation(observed)),
            ("gen_ai.provider.name", provider(observed)),
            ("gen_ai.request.model", observed.model),
            ("aimesh.version", observed.version),
            ("aimesh.gpu_pool", observed.gpu_pool),
        )
        error = error_type(observed)
        input_tokens, output_tokens = (("gen_ai.token.type", kind) for kind in ("input", "output"))
        if observed.first_token is not None:
            self._observe(FIRST_TOKEN, attributes, observed.first_token, observed.first_token_stands_for)
        for instrument, more, value in (
            (REQUEST, (("error.type", error),) if error else (), observed.seconds),
            (PER_TOKEN, (), observed.per_token),
            (TOKENS, (input_tokens,), observed.input_tokens),
            (TOKENS, (output_tokens,), None if observed.estimated else observed.output_tokens),
        ):
            if value is not None:
                self._observe(instrument, (*attributes, *more), value, observed.stands_for)

    def _observe(
        self, instrument: Instrument, attributes: tuple[tuple[str, str], ...], value: float, times: float
    ) -> None:
        histograms = self._histograms[instrument]
        histogram = histograms.get(attributes)
        if histogram is None:
            histogram = histograms[attributes] = Histogram(instrument.bounds)
        histogram.observe(value, times)

    def histograms(self, instrument: Instrument) -> list[tuple[tuple[tuple[str, str], ...], Histogram]]:
        """Those of an instrument, by their attributes."""
        return list(self._histograms[instrument].items())


def collect(measurements: Sequence[Measurements]) -> Iterator[tuple[Instrument, list[tuple[Attributes, Histogram]]]]:
    """Instruments with at least one value, and by attributes the sums of their histograms."""
    for instrument in (REQUEST, FIRST_TOKEN, PER_TOKEN, TOKENS):
        sums: dict[tuple[tuple[str, str], ...], Histogram] = {}
        for attributes, histogram in (pair for each in measurements for pair in each.histograms(instrument)):
            sums.setdefault(attributes, Histogram(instrument.bounds)).add(histogram)
        if sums:
            yield instrument, [(dict(attributes), histogram) for attributes, histogram in sums.items()]
