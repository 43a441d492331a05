"""What an exchange adds to metrics that a policy asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.exchange.custom_metric_values import CustomMetricValues, custom_samples, number
from extproc.exchange.notes import CustomSample
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
from tests.unit.telemetry.test_genai import observed

HITS, ALL = Source(header="x-hits"), Source(body=("usage", "all"))
RATIO = CustomMetric("ratio", "GAUGE", ("model_name",), HITS, ALL)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0.83", 0.83),
        ("12", 12.0),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("1e3", 1000.0),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1_000", None),
        ("83%", None),
        ("", None),
        ("7".zfill(64), 7.0),
        ("7".zfill(65), None),
    ],
)
def test_numbers(text: str, wanted: float | None) -> None:
    assert number(text) == wanted


@given(st.text(max_size=80))
def test_a_number_is_finite_and_not_negative(text: str) -> None:
    value = number(text)
    assert value is None or 0 <= value < float("inf")


def test_headers_and_documents() -> None:
    told = CustomMetricValues((RATIO,))
    told.head(Headers.of([("x-hits", "3"), ("x-other", "9")]))
    told.document(b'{"choices": []}')
    told.document(b'{"usage": {"all": 10}}')
    told.document(b'{"usage": {"all": 12}, "x": "all"}')
    told.document(b'{"usage": {"all": "many"}}')
    told.document(b'{"usage": {"all"')
    told.document(b"")
    assert told.found == {HITS: 3.0, ALL: 12.0}


@pytest.mark.parametrize(
    ("key", "document"),
    [("é", b'{"\\u00e9": 1}'), ('"', b'{"\\"": 1}'), ("/", b'{"\\/": 1}'), ("0", b"[1]")],
)
def test_a_key_that_json_writes_in_several_ways(key: str, document: bytes) -> None:
    source = Source(body=(key,))
    told = CustomMetricValues((CustomMetric("a", "COUNTER", source=source),))
    told.document(document)
    assert told.found == {source: 1.0}


def test_the_keys_above_may_be_written_in_any_way() -> None:
    told = CustomMetricValues((RATIO,))
    told.document(b'{"us\\u0061ge": {"all": 4}}')
    assert told.found == {ALL: 4.0}


def test_only_where_every_number_is_known() -> None:
    exchange = observed()
    assert custom_samples((RATIO,), exchange, "a100", {HITS: 3.0}) == ()
    assert custom_samples((RATIO,), exchange, "a100", {HITS: 3.0, ALL: 12.0}) == (
        CustomSample(RATIO, ("llama-*",), 3.0, 12.0),
    )


def test_tokens() -> None:
    rate = CustomMetric("rate", "GAUGE", (), OUTPUT_TOKENS, SECONDS)
    ratio = CustomMetric("ratio", "GAUGE", (), CACHED_TOKENS, INPUT_TOKENS)
    count = CustomMetric("count", "COUNTER", (), REQUESTS)
    every = (rate, ratio, count)
    known = observed(input_tokens=100, output_tokens=20, cached_tokens=60)
    assert [(m.amount, m.per) for m in custom_samples(every, known, "none", {})] == [(20, 0), (60, 100), (1, 1)]
    silent = observed(input_tokens=100)
    assert [(m.metric.name, m.amount, m.per) for m in custom_samples(every, silent, "none", {})] == [
        ("ratio", 0, 100),
        ("count", 1, 1),
    ]
    assert [m.metric.name for m in custom_samples(every, observed(), "none", {})] == ["count"]


def test_labels_are_the_policys_texts() -> None:
    labels = ("model_name", "model_version", "gpu_type", "gpu_pool", "policy", "api", "code")
    (note,) = custom_samples(
        (CustomMetric("n", "COUNTER", labels),), observed(policy="chat", gpu_pool="west"), "a100", {}
    )
    assert note.labels == ("llama-*", "v1", "a100", "west", "chat", "openai", "200")
