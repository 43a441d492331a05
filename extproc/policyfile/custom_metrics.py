"""``observability.customMetrics`` of a policy."""

from __future__ import annotations

from itertools import pairwise

from extproc.policy.custom_metric import (
    CACHED_TOKENS,
    DEFAULT_WINDOW,
    GPU_UTILIZATION,
    INPUT_TOKENS,
    LABELS,
    OUTPUT_TOKENS,
    REQUESTS,
    SECONDS,
    SERVER_LABELS,
    SOURCES,
    CustomMetric,
    Source,
)
from extproc.policyfile import quantities_and_durations, values
from extproc.policyfile.fields import Field, Fields
from extproc.telemetry.metric_families import find_conflict
from extproc.yamldoc import Mapping

TYPES = ("GAUGE", "COUNTER", "HISTOGRAM")
MIN_WINDOW, MAX_WINDOW = 5.0, 3600.0
"""Seconds of a gauge's window."""
MAX_BUCKETS = 50

_PREDEFINED_GAUGES = {
    "inference_throughput": (OUTPUT_TOKENS, SECONDS),
    "feature_cache_hit_ratio": (CACHED_TOKENS, INPUT_TOKENS),
}
"""(``source``, ``per``) of gauges whose name alone defines them."""
_TYPE_OF_FIELD = {"per": "GAUGE", "window": "GAUGE", "buckets": "HISTOGRAM"}


def read(field: Field) -> tuple[CustomMetric, ...]:
    """The metrics in the list ``field``."""
    return field.named(_metric, "metric")


def _metric(field: Field) -> CustomMetric | None:
    fields = field.fields("name", "type", "labels", "source", "per", "window", "buckets")
    if fields is None:
        return None
    name = fields.required("name", values.metric_name, "name the metric") or ""
    kind = fields.required("type", lambda f: f.choice(*TYPES), f"give one of {', '.join(TYPES)}") or ""
    if name and (built_in := find_conflict(name, kind)):
        field.at("name").error(f"is the name of a metric of ours ({built_in})", "choose another name")
    for option, only in _TYPE_OF_FIELD.items():
        if option in fields and kind and kind != only:
            field.at(option).error(f"a {kind} has none", f"remove it, or write type: {only}")
    source, per = _sources(fields, name, kind)
    labels = fields.optional("labels", _labels, ())
    if source == GPU_UTILIZATION:
        _check_gpus(fields, kind, labels)
    return CustomMetric(
        name,
        kind,
        labels,
        source,
        per,
        fields.optional("window", _window, DEFAULT_WINDOW),
        _buckets(fields) if kind == "HISTOGRAM" else (),
    )


def _check_gpus(fields: Fields, kind: str, labels: tuple[str, ...]) -> None:
    """That nothing is asked of servers which only requests have."""
    if kind and kind != "GAUGE":
        fields.field.at("source").error("is no number of a request, which could be added up", "write type: GAUGE")
    for option in ("per", "window"):
        if option in fields:
            fields.field.at(option).error("does not go with gpuUtilization, which is told as it is", f"remove {option}")
    if others := [label for label in labels if label not in SERVER_LABELS]:
        remedy = f"give some of {', '.join(SERVER_LABELS)}"
        fields.field.at("labels").error(f"{', '.join(others)} tell of requests, gpuUtilization of servers", remedy)


def _labels(field: Field) -> tuple[str, ...]:
    """The labels in the order of ``LABELS``."""
    given = field.distinct(lambda one: one.choice(*LABELS), "label")
    return tuple(label for label in LABELS if label in given)


def _sources(fields: Fields, name: str, kind: str) -> tuple[Source, Source]:
    if kind == "GAUGE" and name in _PREDEFINED_GAUGES and "source" not in fields and "per" not in fields:
        return _PREDEFINED_GAUGES[name]
    remedy = f"write source: {OUTPUT_TOKENS.word}, {{header: x-my-number}} or {{body: /my/number}}"
    source = fields.required("source", _source, remedy) or REQUESTS
    per = fields.optional("per", _per, REQUESTS)
    if kind == "GAUGE" and source == per and "source" in fields and fields.field.clean:
        fields.field.at("source").error("would always be 1: it is divided by itself", "write per: second")
    return source, per


def _source(field: Field) -> Source | None:
    if not isinstance(field.node, Mapping):
        word = field.choice(*SOURCES)
        return None if word is None else SOURCES[word]
    fields = field.fields("header", "body")
    if fields is None:
        return None
    given = [name for name in ("header", "body") if name in fields]
    if len(given) != 1:
        message = "has header and body" if given else "names nothing"
        field.error(message, "give exactly one of header and body")
    source = Source(
        header=fields.optional("header", values.response_header, ""), body=fields.optional("body", values.pointer, ())
    )
    return source if source.header or source.body else None


def _per(field: Field) -> Source | None:
    if isinstance(field.node, Mapping):
        return _source(field)
    tokens = {source.word: source for source in (INPUT_TOKENS, OUTPUT_TOKENS, CACHED_TOKENS)}
    words = {SECONDS.word: SECONDS, "request": REQUESTS, **tokens}
    word = field.choice(*words)
    return None if word is None else words[word]


def _window(field: Field) -> float | None:
    seconds = quantities_and_durations.duration(field)
    if seconds is not None and not MIN_WINDOW <= seconds <= MAX_WINDOW:
        field.error(f"{seconds:g} s is out of range", f"give {MIN_WINDOW:g}s to {MAX_WINDOW / 60:g}m")
        return None
    return seconds


def _buckets(fields: Fields) -> tuple[float, ...]:
    return fields.required("buckets", _bounds, "give the upper bounds of its buckets: [1, 10, 100]") or ()


def _bounds(field: Field) -> tuple[float, ...]:
    bounds = field.distinct(lambda f: f.number(0, 1e15), "bound", minimum=1)
    if len(bounds) > MAX_BUCKETS:
        field.error(f"has {len(bounds)} bounds", f"give at most {MAX_BUCKETS}")
    if any(low >= high for low, high in pairwise(bounds)):
        field.error("is not in ascending order", "sort it")
    return bounds
