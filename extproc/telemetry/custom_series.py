"""The metrics that policies ask for, summed up.

A gauge is a quotient of two sums over the last while, so those of several processes add up as sums, and a ratio is that
of all requests together, not an average of averages. The sums are kept in slots of a twelfth of the window.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from extproc.envoy.actions import CustomSample
from extproc.policy.custom_metric import SECONDS, CustomMetric, Source
from extproc.telemetry.histogram import Histogram

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

Labels: TypeAlias = tuple[str, ...]

_SLOTS = 12


_SUFFIXES = {"COUNTER": ("_total", "_created"), "HISTOGRAM": ("_bucket", "_sum", "_count", "_created")}


def samples(name: str, kind: str) -> frozenset[str]:
    """Every name under which a metric of this name and type shows."""
    base = name.removesuffix("_total") if kind == "COUNTER" else name
    return frozenset((base, *(base + suffix for suffix in _SUFFIXES.get(kind, ()))))


class Sliding(msgspec.Struct, array_like=True):
    """Two sums over the last while."""

    width: float
    """Seconds of one slot."""
    slots: dict[int, tuple[float, float]] = {}
    """By the number of slots that fit between the clock's zero and its beginning."""

    def note(self, amount: float, per: float, now: float) -> None:
        """Adds to both; ``now``: seconds of a clock that all processes of this machine share."""
        self._add(int(now / self.width), amount, per)

    def _add(self, slot: int, amount: float, per: float) -> None:
        found = self.slots.get(slot)
        if found is None:
            if len(self.slots) >= _SLOTS:
                del self.slots[min(self.slots)]
            self.slots[slot] = (amount, per)
        else:
            self.slots[slot] = (found[0] + amount, found[1] + per)

    def add(self, other: Sliding) -> None:
        """Adds what another process has noted."""
        for slot, (amount, per) in other.slots.items():
            self._add(slot, amount, per)

    def sums(self, now: float) -> tuple[float, float, float]:
        """(of amounts, of pers, seconds over which they were taken)."""
        current = int(now / self.width)
        recent = [sums for slot, sums in list(self.slots.items()) if slot > current - _SLOTS]
        seconds = (_SLOTS - 1) * self.width + now % self.width
        return sum(amount for amount, _ in recent), sum(per for _, per in recent), seconds


class Cells(msgspec.Struct, array_like=True):
    """One metric: what was counted by its labels' values. Only what its type needs is filled."""

    metric: CustomMetric
    gauges: dict[Labels, Sliding] = {}
    counts: dict[Labels, float] = {}
    histograms: dict[Labels, Histogram] = {}

    def note(self, note: CustomSample, now: float) -> None:
        """Counts what one exchange adds."""
        labels = note.labels
        match self.metric.type:
            case "GAUGE":
                self._gauge(labels).note(note.amount, note.per, now)
            case "COUNTER":
                self.counts[labels] = self.counts.get(labels, 0.0) + note.amount
            case _:
                self._histogram(labels).observe(note.amount)

    def add(self, other: Cells) -> None:
        """Counts what another process has counted."""
        for labels, sliding in other.gauges.items():
            self._gauge(labels).add(sliding)
        for labels, count in other.counts.items():
            self.counts[labels] = self.counts.get(labels, 0.0) + count
        for labels, histogram in other.histograms.items():
            self._histogram(labels).add(histogram)

    def _gauge(self, labels: Labels) -> Sliding:
        return self.gauges.get(labels) or self.gauges.setdefault(labels, Sliding(self.metric.window / _SLOTS))

    def _histogram(self, labels: Labels) -> Histogram:
        return self.histograms.get(labels) or self.histograms.setdefault(labels, Histogram(self.metric.buckets))

    def collect(self, now: float) -> Metric:
        """As Prometheus scrapes it. A quotient of nothing by nothing is left out."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        metric = self.metric
        text = f"Asked for by a policy: {_describe(metric)}."
        match metric.type:
            case "GAUGE":
                gauge = GaugeMetricFamily(metric.name, text, labels=metric.labels)
                for labels, sliding in list(self.gauges.items()):
                    amount, per, seconds = sliding.sums(now)
                    under = seconds if metric.per == SECONDS else per
                    if under:
                        gauge.add_metric(labels, amount / under)
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
    return f"{_word(metric.source)} per {_word(metric.per)}, over {metric.window:g} s"


def _word(source: Source) -> str:
    if source.header:
        return f"the header {source.header}"
    return f"the body's /{'/'.join(source.body)}" if source.body else source.word.removesuffix("s")


class Series:
    """Every metric that the policies in force ask for. Written by the engine's thread; may be collected by another."""

    def __init__(self) -> None:
        self._by_name: dict[str, Cells] = {}

    def declare(self, metrics: Iterable[CustomMetric]) -> None:
        """These are in force from now on. What was counted stays where the metric is the same."""
        before = self._by_name
        self._by_name = {
            metric.name: before[metric.name]
            if metric.name in before and before[metric.name].metric == metric
            else Cells(metric)
            for metric in metrics
        }

    def note(self, note: CustomSample, now: float) -> None:
        """Counts what one exchange adds; nothing where its policy is not in force any more."""
        cells = self._by_name.get(note.metric.name)
        if cells is not None and cells.metric == note.metric:
            cells.note(note, now)

    def state(self) -> list[Cells]:
        """For ``add`` in another process."""
        return list(self._by_name.values())

    def add(self, state: Iterable[Cells]) -> None:
        """Counts what another process has counted. Where the two differ on a metric, its word is the newer one."""
        for theirs in state:
            ours = self._by_name.get(theirs.metric.name)
            if ours is None or ours.metric != theirs.metric:
                ours = self._by_name[theirs.metric.name] = Cells(theirs.metric)
            ours.add(theirs)

    def collect(self, now: float) -> Iterator[Metric]:
        """As Prometheus scrapes them."""
        for cells in list(self._by_name.values()):
            yield cells.collect(now)
