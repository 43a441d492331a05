"""Values of the custom metrics of policies.

A gauge is a quotient of two sums over its window. Sums of several processes can be added, so that the quotient is that
of all requests together, not an average of averages. The sums are kept in slots of a twelfth of the window.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from extproc.exchange.notes import CustomSample
from extproc.policy.custom_metric import SECONDS, CustomMetric, Source
from extproc.telemetry.histogram import Histogram

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

Labels: TypeAlias = tuple[str, ...]

_SLOTS = 12
"""Slots of a window."""
_SUFFIXES = {"COUNTER": ("_total", "_created"), "HISTOGRAM": ("_bucket", "_sum", "_count", "_created")}


def samples(name: str, kind: str) -> frozenset[str]:
    """Every name that samples of a metric of this name and type have in Prometheus."""
    base = name.removesuffix("_total") if kind == "COUNTER" else name
    return frozenset((base, *(base + suffix for suffix in _SUFFIXES.get(kind, ()))))


class SlidingSums(msgspec.Struct, array_like=True):
    """Two sums over a sliding window."""

    width: float
    """Seconds of one slot."""
    slots: dict[int, tuple[float, float]] = {}
    """(sum of amounts, sum of pers) by the slot's number: its begin on the clock divided by ``width``."""

    def note(self, amount: float, per: float, now: float) -> None:
        """Adds to both sums. ``now``: seconds of a clock that all processes of the machine share."""
        self._add(int(now / self.width), amount, per)

    def _add(self, slot: int, amount: float, per: float) -> None:
        sums = self.slots.get(slot)
        if sums is None:
            if len(self.slots) >= _SLOTS:
                del self.slots[min(self.slots)]
            self.slots[slot] = (amount, per)
        else:
            self.slots[slot] = (sums[0] + amount, sums[1] + per)

    def add(self, other: SlidingSums) -> None:
        """Adds the sums of another process."""
        for slot, (amount, per) in other.slots.items():
            self._add(slot, amount, per)

    def sums(self, now: float) -> tuple[float, float, float]:
        """(sum of amounts, sum of pers, seconds over which they were taken)."""
        current = int(now / self.width)
        recent = [sums for slot, sums in list(self.slots.items()) if slot > current - _SLOTS]
        seconds = (_SLOTS - 1) * self.width + now % self.width
        return sum(amount for amount, _ in recent), sum(per for _, per in recent), seconds


class MetricValues(msgspec.Struct, array_like=True):
    """The values of one metric by label values. Only the field of the metric's type is filled."""

    metric: CustomMetric
    gauges: dict[Labels, SlidingSums] = {}
    counts: dict[Labels, float] = {}
    histograms: dict[Labels, Histogram] = {}

    def note(self, note: CustomSample, now: float) -> None:
        """Counts a sample of one exchange."""
        labels = note.labels
        match self.metric.type:
            case "GAUGE":
                self._gauge(labels).note(note.amount * note.times, note.per * note.times, now)
            case "COUNTER":
                self.counts[labels] = self.counts.get(labels, 0.0) + note.amount * note.times
            case _:
                self._histogram(labels).observe(note.amount, note.times)

    def add(self, other: MetricValues) -> None:
        """Adds the values of another process."""
        for labels, sliding in other.gauges.items():
            self._gauge(labels).add(sliding)
        for labels, count in other.counts.items():
            self.counts[labels] = self.counts.get(labels, 0.0) + count
        for labels, histogram in other.histograms.items():
            self._histogram(labels).add(histogram)

    def _gauge(self, labels: Labels) -> SlidingSums:
        return self.gauges.get(labels) or self.gauges.setdefault(labels, SlidingSums(self.metric.window / _SLOTS))

    def _histogram(self, labels: Labels) -> Histogram:
        return self.histograms.get(labels) or self.histograms.setdefault(labels, Histogram(self.metric.buckets))

    def collect(self, now: float) -> Metric:
        """The metric as Prometheus' client library takes it, without gauges whose divisor is 0."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        metric = self.metric
        text = f"Asked for by a policy: {_describe(metric)}."
        match metric.type:
            case "GAUGE":
                gauge = GaugeMetricFamily(metric.name, text, labels=metric.labels)
                for labels, sliding in list(self.gauges.items()):
                    amount, per, seconds = sliding.sums(now)
                    divisor = seconds if metric.per == SECONDS else per
                    if divisor:
                        gauge.add_metric(labels, amount / divisor)
                return gauge
            case "COUNTER":
                counter = CounterMetricFamily(metric.name, text, labels=metric.labels)
                for labels, count in list(self.counts.items()):
                    counter.add_metric(labels, count)
                return counter
            case _:
                family = HistogramMetricFamily(metric.name, text, labels=metric.labels)
                for labels, histogram in list(self.histograms.items()):
                    family.add_metric(labels, histogram.buckets(), histogram.sum)
                return family


def _describe(metric: CustomMetric) -> str:
    if metric.type != "GAUGE":
        return _word(metric.source)
    return (
        f"{_word(metric.source)} per {metric.per.word.removesuffix('s') or _word(metric.per)}, over {metric.window:g} s"
    )


def _word(source: Source) -> str:
    if source.header:
        return f"the header {source.header}"
    return f"the body's /{'/'.join(source.body)}" if source.body else source.word


class CustomSeries:
    """The custom metrics of the policies in force. Written by the event loop's thread; any thread may collect."""

    def __init__(self) -> None:
        self._by_name: dict[str, MetricValues] = {}

    def declare(self, metrics: Iterable[CustomMetric]) -> None:
        """The metrics in force from now on. A metric that stays the same keeps its values."""
        previous = self._by_name
        self._by_name = {
            metric.name: previous[metric.name]
            if metric.name in previous and previous[metric.name].metric == metric
            else MetricValues(metric)
            for metric in metrics
        }

    def note(self, note: CustomSample, now: float) -> None:
        """Counts a sample; does nothing where its metric is no longer in force."""
        values = self._by_name.get(note.metric.name)
        if values is not None and values.metric == note.metric:
            values.note(note, now)

    def state(self) -> list[MetricValues]:
        """For ``add`` in another process."""
        return list(self._by_name.values())

    def add(self, state: Iterable[MetricValues]) -> None:
        """Adds the state of another process. Of two definitions of one metric the other process' is kept."""
        for theirs in state:
            ours = self._by_name.get(theirs.metric.name)
            if ours is None or ours.metric != theirs.metric:
                ours = self._by_name[theirs.metric.name] = MetricValues(theirs.metric)
            ours.add(theirs)

    def collect(self, now: float) -> Iterator[Metric]:
        """The metrics as Prometheus' client library takes them."""
        for values in list(self._by_name.values()):
            yield values.collect(now)
