"""Metrics that policies ask for, summed up: over time, over processes, and as Prometheus sees them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric

from extproc.exchange.notes import CustomSample
from extproc.policy.custom_metric import CACHED_TOKENS, INPUT_TOKENS, OUTPUT_TOKENS, SECONDS, CustomMetric, Source
from extproc.telemetry.custom_series import CustomSeries, SlidingSums, samples
from extproc.telemetry.metrics import Metrics

RATE = CustomMetric("rate", "GAUGE", ("model_version",), OUTPUT_TOKENS, SECONDS, window=12.0)
RATIO = CustomMetric("ratio", "GAUGE", ("model_name",), CACHED_TOKENS, INPUT_TOKENS)
COUNT = CustomMetric("hits", "COUNTER", (), Source(header="x-hits"))
SIZES = CustomMetric("sizes", "HISTOGRAM", (), OUTPUT_TOKENS, buckets=(1.0, 10.0))
EVERY = (RATE, RATIO, COUNT, SIZES)


def series(*notes: tuple[CustomSample, float]) -> CustomSeries:
    found = CustomSeries()
    found.declare(EVERY)
    for note, now in notes:
        found.note(note, now)
    return found


def values(metrics: CustomSeries, now: float) -> dict[str, dict[tuple[str, ...], float]]:
    def by_labels(metric: Metric) -> dict[tuple[str, ...], float]:
        return {(sample.name, *sample.labels.values()): sample.value for sample in metric.samples}

    return {metric.name: by_labels(metric) for metric in metrics.collect(now)}


def test_a_rate_is_over_the_last_while() -> None:
    found = series(*((CustomSample(RATE, ("v1",), 10.0, 0.0), float(now)) for now in range(100)))
    assert values(found, 99.5)["rate"] == {("rate", "v1"): pytest.approx(10, rel=0.1)}
    assert values(found, 105.5)["rate"] == {("rate", "v1"): pytest.approx(5, rel=0.1)}
    assert values(found, 200.0)["rate"] == {("rate", "v1"): 0.0}, "nothing in the last while is a rate of 0"


def test_each_says_what_it_counts() -> None:
    told = {metric.name: metric.documentation for metric in series().collect(0.0)}
    assert told["rate"] == "Asked for by a policy: outputTokens per second, over 12 s."
    assert told["ratio"] == "Asked for by a policy: cachedTokens per inputToken, over 60 s."
    assert (told["hits"], told["sizes"]) == (
        "Asked for by a policy: the header x-hits.",
        "Asked for by a policy: outputTokens.",
    )


def test_a_ratio_is_that_of_sums_not_an_average_of_ratios() -> None:
    found = series((CustomSample(RATIO, ("m",), 0.0, 10.0), 1.0), (CustomSample(RATIO, ("m",), 90.0, 90.0), 2.0))
    assert values(found, 3.0)["ratio"] == {("ratio", "m"): 0.9}
    assert values(found, 100.0)["ratio"] == {}, "nothing by nothing is left out"


def test_counters_and_histograms() -> None:
    found = series(*((CustomSample(metric, (), 4.0), 1.0) for metric in (COUNT, COUNT, SIZES)))
    assert values(found, 1000.0)["hits"] == {("hits_total",): 8.0}
    sizes = values(found, 1000.0)["sizes"]
    assert (sizes["sizes_bucket", "1.0"], sizes["sizes_bucket", "10.0"]) == (0.0, 1.0)
    assert sizes["sizes_sum",] == 4.0


def test_a_sample_counts_for_all_that_it_stands_for() -> None:
    four = (CustomSample(metric, ("m",) if metric.labels else (), 90.0, 100.0, times=4) for metric in EVERY)
    one = CustomSample(RATIO, ("m",), 0.0, 100.0)
    found = values(series(*((note, 1.0) for note in (*four, one))), 2.0)
    assert found["ratio"] == {("ratio", "m"): 0.72}
    assert found["hits"] == {("hits_total",): 360.0}
    assert (found["sizes"]["sizes_count",], found["sizes"]["sizes_sum",]) == (4.0, 360.0)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9), st.integers(0, 9), st.booleans()), max_size=60))
def test_several_processes_are_as_one(notes: list[tuple[int, int, int, bool]]) -> None:
    one, two, both = series(), series(), series()
    for now, amount, per, first in sorted(notes):
        for metric in (RATE, RATIO):
            note = CustomSample(metric, ("x",), float(amount), float(per))
            both.note(note, float(now))
            (one if first else two).note(note, float(now))
    total = CustomSeries()
    total.add(one.state())
    total.add(two.state())
    assert values(total, 40.0) == values(both, 40.0)


def test_slots_are_bounded_and_old_ones_go_first() -> None:
    sliding = SlidingSums(1.0)
    for now in range(1000):
        sliding.note(1.0, 2.0, float(now))
    assert len(sliding.slots) == 12
    assert sliding.sums(999.5) == (12.0, 24.0, 11.5)
    other = SlidingSums(1.0)
    other.note(1.0, 2.0, 3.0)
    other.add(sliding)
    assert len(other.slots) == 12


def test_what_is_in_force_counts() -> None:
    metrics = series((CustomSample(COUNT, (), 1.0), 1.0))
    changed = CustomMetric("hits", "COUNTER", ("model_name",), Source(header="x-hits"))
    metrics.declare((COUNT, RATIO))
    assert values(metrics, 2.0)["hits"] == {("hits_total",): 1.0}, "a reload that leaves it as it is keeps its count"
    metrics.declare((changed,))
    metrics.note(CustomSample(COUNT, (), 1.0), 3.0)
    assert values(metrics, 3.0) == {"hits": {}}, "an exchange that began before the reload"
    metrics.note(CustomSample(changed, ("m",), 1.0), 3.0)
    assert values(metrics, 3.0) == {"hits": {("hits_total", "m"): 1.0}}
    total = CustomSeries()
    total.add(series((CustomSample(COUNT, (), 5.0), 1.0)).state())
    total.add(metrics.state())
    assert values(total, 3.0)["hits"] == {("hits_total", "m"): 1.0}


def test_through_the_metrics_of_several_processes() -> None:
    total = Metrics()
    for amount in (1.0, 2.0):
        one = Metrics()
        one.series.declare(EVERY)
        for metric in EVERY:
            one.note(CustomSample(metric, tuple("x" for _ in metric.labels), amount, 4.0))
        total.add(one.state())
    found = {sample.name: sample.value for metric in total.collect() for sample in metric.samples}
    assert (found["ratio"], found["hits_total"], found["sizes_sum"]) == (3 / 8, 3.0, 3.0)
    assert found["rate"] > 0


def test_names_that_prometheus_would_mix_up() -> None:
    assert samples("a_total", "COUNTER") == samples("a", "COUNTER") == {"a", "a_total", "a_created"}
    assert samples("a", "HISTOGRAM") == {"a", "a_bucket", "a_sum", "a_count", "a_created"}
