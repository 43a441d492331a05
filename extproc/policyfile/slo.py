"""``observability.slo`` of a policy: service level objectives."""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Sequence

from extproc.policy.snapshot import DEFAULT_SLO_DAYS, Objective, Slo
from extproc.policyfile import quantities_and_durations
from extproc.policyfile.fields import Field
from extproc.telemetry.metric_families import DURATION_BUCKETS, FIRST_TOKEN_BUCKETS
from extproc.yamldoc import quoted

MIN_TARGET, MAX_TARGET = 50, 99.999
"""Percent. Above it hardly any error budget is left."""
MIN_DAYS, MAX_DAYS = 7, 90
"""Days of the window."""

_DAYS = re.compile(r"([1-9][0-9]{0,2})d")


def read(field: Field) -> Slo | None:
    """The objectives in the mapping ``field``."""
    fields = field.fields("availability", "timeToFirstToken", "duration", "window")
    if fields is None:
        return None
    if field.clean and not any(name in fields for name in ("availability", "timeToFirstToken", "duration")):
        field.error("names no objective", "give availability, timeToFirstToken or duration")
    return Slo(
        fields.optional("availability", _target, None),
        fields.optional("timeToFirstToken", lambda f: _objective(f, FIRST_TOKEN_BUCKETS), None),
        fields.optional("duration", lambda f: _objective(f, DURATION_BUCKETS), None),
        fields.optional("window", _window, DEFAULT_SLO_DAYS),
    )


def _objective(field: Field, bounds: Sequence[float]) -> Objective | None:
    fields = field.fields("under", "target")
    if fields is None:
        return None
    under = fields.required("under", lambda f: _bound(f, bounds), "say what is fast enough: under: 500ms")
    target = fields.required("target", _target, "say how many must be, in percent: target: 95")
    return Objective(under, target) if under is not None and target is not None else None


def _target(field: Field) -> float | None:
    return field.number(MIN_TARGET, MAX_TARGET)


def _bound(field: Field, bounds: Sequence[float]) -> float | None:
    """Seconds, one of ``bounds`` (ascending)."""
    seconds = quantities_and_durations.duration(field)
    if seconds is None or seconds in bounds:
        return seconds
    i = bisect(bounds, seconds)
    near = " or ".join(_text(bound) for bound in bounds[max(i - 1, 0) : i + 1])
    field.error(f"{_text(seconds)} is no bound of the histogram, so nobody counts what is faster", f"give {near}")
    return None


def _text(seconds: float) -> str:
    return f"{seconds:g}s" if seconds >= 1 else f"{seconds * 1000:g}ms"


def _window(field: Field) -> int | None:
    """Days."""
    text = field.scalar("a number of days such as 30d")
    if text is None:
        return None
    match = _DAYS.fullmatch(text)
    if match is None or not MIN_DAYS <= int(match[1]) <= MAX_DAYS:
        field.error(f"{quoted(text)} is no window", f"give {MIN_DAYS}d to {MAX_DAYS}d")
        return None
    return int(match[1])
