"""Times cases side by side: in short turns, so that whatever else the machine does befalls all of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from random import Random
from time import perf_counter
from typing import Any

import msgspec


class Timing(msgspec.Struct, frozen=True):
    """Microseconds for one call: the least over the rounds, the median, and the quartiles round it."""

    best: float
    median: float
    lower: float
    upper: float
    ratio: float
    """To the baseline: the median of what it was in each round, where the two ran at nearly the same time."""

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, for JSON output."""
        return msgspec.structs.asdict(self)


def verdict(timing: Timing, below: float) -> str:
    """Whether a target is met: by the median, or only where nothing disturbs."""
    met = "met" if timing.median < below else "met when undisturbed" if timing.best < below else "not met"
    return f"{met} (best {timing.best:.1f}, median {timing.median:.1f} µs)"


def measure(
    calls: Mapping[str, Callable[[], object]], baseline: str, rounds: int, slice_seconds: float
) -> dict[str, Timing]:
    """Each call's timing. In a round each runs for about ``slice_seconds``: their mean is one sample.

    Every round has another order, so that nothing keeps step with what else runs on the machine.
    """
    repeats = {name: _repeats(call, slice_seconds) for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    order, random = list(calls), Random(0)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            samples[name].append(_mean(calls[name], repeats[name]) * 1e6)
    return {name: _summary(values, samples[baseline]) for name, values in samples.items()}


def _mean(call: Callable[[], object], repeats: int) -> float:
    started = perf_counter()
    for _ in range(repeats):
        call()
    return (perf_counter() - started) / repeats


def _repeats(call: Callable[[], object], seconds: float) -> int:
    """How often ``call`` runs in so many seconds, once it is warm."""
    _mean(call, 20)
    return max(1, round(seconds / _mean(call, 20)))


def _summary(samples: list[float], baseline: list[float]) -> Timing:
    lower, median, upper = statistics.quantiles(samples, n=4, method="inclusive")
    ratio = statistics.median(own / base for own, base in zip(samples, baseline, strict=True))
    return Timing(min(samples), median, lower, upper, ratio)
