"""What was observed, in the words of OpenTelemetry's conventions for generative AI.

Source: open-telemetry/semantic-conventions-genai (gen-ai-spans.md, gen-ai-metrics.md), in development as of 1.41.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from extproc.apis import TABLE
from extproc.exchange.notes import Observed
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
"""Where the conventions have a word of their own for an API. It tells the API's shape, not who runs the server."""

_OPERATIONS = {
    "chat": ("chat.completions", "responses", "responses.compact", "messages", "chat", "converse", "converse-stream"),
    "text_completion": ("completions", "complete", "generate", "generate_stream"),
    "embeddings": ("embeddings", "embed", "embedContent", "batchEmbedContents"),
    "generate_content": ("generateContent", "streamGenerateContent", "batchGenerateContent"),
}
_OPERATION = {row.operation: row.operation for row in TABLE} | {
    ours: theirs for theirs, every in _OPERATIONS.items() for ours in every
}

_NO_FAULT_OF_THE_SERVER = ("client_left", "shed")
"""Ends that ``Observed.error`` tells, and that make no failed span."""


def is_inference(observed: Observed) -> bool:
    """Whether a model was asked, as far as we know."""
    return observed.api not in (NONE, OTHER)


def makes_span(observed: Observed, *, child: bool) -> bool:
    """Whether there is a span to tell of it. ``child``: it is known whose child that would be.

    What was not watched to its end took a time that nobody knows. A refusal took none, but of its request only Envoy's
    own context is known, and whether to sample it; without that it would be a trace of nothing else.
    """
    return observed.seconds is not None or (child and observed.code[:1] in ("4", "5"))


def operation(observed: Observed) -> str:
    """``gen_ai.operation.name``; ours where the conventions have no word for it, never a peer's."""
    return _OPERATION.get(observed.operation, "inference")


def provider(observed: Observed) -> str:
    """``gen_ai.provider.name``; the API's family where the conventions have no word for it."""
    return _PROVIDERS.get(observed.api, observed.api)


def error_type(observed: Observed) -> str:
    """``error.type``; empty where all went well, or nobody can tell."""
    if observed.code[:1] in ("4", "5"):
        return observed.code
    return observed.error


def failed(observed: Observed) -> bool:
    """Whether the span says so."""
    return bool(error_type(observed)) and error_type(observed) not in _NO_FAULT_OF_THE_SERVER


def span_name(observed: Observed) -> str:
    """``chat llama-3-8b``: by the model as the client named it."""
    return f"{operation(observed)} {observed.asked or _named(observed.model)}".rstrip()


def attributes(observed: Observed) -> Attributes:
    """Of the span. What is not known is left out; estimates are not called usage."""
    told = not observed.estimated
    found: dict[str, str | int | float | bool | None] = {
        "gen_ai.operation.name": operation(observed),
        "gen_ai.provider.name": provider(observed),
        "gen_ai.request.model": observed.asked or _named(observed.model),
        "gen_ai.request.stream": observed.streamed or None,
        "gen_ai.usage.input_tokens": observed.input_tokens,
        "gen_ai.usage.output_tokens": observed.output_tokens if told else None,
        "gen_ai.usage.cache_read.input_tokens": observed.cached_tokens,
        "error.type": error_type(observed),
        "http.response.status_code": int(observed.code) if observed.code.isdecimal() and observed.code != "0" else None,
        "aimesh.api": observed.api,
        "aimesh.policy": observed.policy,
        "aimesh.version": _named(observed.version),
        "aimesh.gpu_pool": _named(observed.gpu_pool),
        "aimesh.cohort": observed.cohort,
        "aimesh.caller": observed.caller,
        "aimesh.time_to_first_token": observed.first_token,
        "aimesh.time_per_output_token": observed.per_token,
        "aimesh.output_tokens_estimated": None if told else observed.output_tokens,
    }
    return {key: value for key, value in found.items() if value is not None and value != ""}


def _named(label: str) -> str:
    return "" if label in (NONE, OTHER) else label


REQUEST_BOUNDS = tuple(0.01 * 2**n for n in range(14))
FIRST_TOKEN_BOUNDS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
PER_TOKEN_BOUNDS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKEN_BOUNDS = tuple(float(4**n) for n in range(14))


class Instrument(msgspec.Struct, frozen=True):
    """A histogram of the conventions'."""

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
    """The conventions' metrics since the start. Written by the engine's thread; may be read by another.

    They are counted beside ``Metrics``, not made of it: operation, provider and error are required attributes here, and
    labels nowhere there. ``gen_ai.request.model`` is a pattern of the policy's, so that no client makes up series.
    """

    def __init__(self) -> None:
        self._found: dict[Instrument, dict[tuple[tuple[str, str], ...], Histogram]] = {
            instrument: {} for instrument in (REQUEST, FIRST_TOKEN, PER_TOKEN, TOKENS)
        }

    def note(self, observed: Observed) -> None:
        """Counts a finished exchange."""
        about = (
            ("gen_ai.operation.name", operation(observed)),
            ("gen_ai.provider.name", provider(observed)),
            ("gen_ai.request.model", observed.model),
            ("aimesh.version", observed.version),
            ("aimesh.gpu_pool", observed.gpu_pool),
        )
        if observed.seconds is not None:
            error = error_type(observed)
            self._observe(REQUEST, (*about, ("error.type", error)) if error else about, observed.seconds)
        if observed.first_token is not None:
            self._observe(FIRST_TOKEN, about, observed.first_token)
        if observed.per_token is not None:
            self._observe(PER_TOKEN, about, observed.per_token)
        if observed.input_tokens is not None:
            self._observe(TOKENS, (*about, ("gen_ai.token.type", "input")), observed.input_tokens)
        if observed.output_tokens is not None and not observed.estimated:
            self._observe(TOKENS, (*about, ("gen_ai.token.type", "output")), observed.output_tokens)

    def _observe(self, instrument: Instrument, about: tuple[tuple[str, str], ...], value: float) -> None:
        found = self._found[instrument]
        histogram = found.get(about)
        if histogram is None:
            histogram = found[about] = Histogram(instrument.bounds)
        histogram.observe(value)

    def collect(self) -> Iterator[tuple[Instrument, list[tuple[Attributes, Histogram]]]]:
        """Every instrument that has measured something."""
        for instrument, found in self._found.items():
            if found:
                yield instrument, [(dict(about), histogram) for about, histogram in list(found.items())]
