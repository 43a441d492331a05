"""Pieces of PromQL: literals, selectors, models' patterns as regular expressions."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

_SPECIAL = re.compile(r"[.+*?()|\[\]{}^$\\]")


def text(value: str) -> str:
    """A string literal."""
    return json.dumps(value, ensure_ascii=False)


def exactly(value: str) -> str:
    """A regular expression (RE2) that matches ``value`` and nothing else."""
    return _SPECIAL.sub(r"\\\g<0>", value)


def among(label: str, values: Sequence[str]) -> str:
    """The matcher of series whose ``label`` is one of ``values``."""
    if len(values) == 1:
        return f"{label}={text(values[0])}"
    return f"{label}=~{text('|'.join(map(exactly, values)))}"


def bound(value: float) -> str:
    """A regular expression for the label ``le``: ``10`` is ``10`` or ``10.0``, as client and Prometheus write it."""
    whole = f"{value:.15g}"
    return exactly(whole) if "." in whole else rf"{whole}(\.0)?"


def select(metric: str, *matchers: str, **equal: str) -> str:
    """Series of ``metric``: ``matchers`` as they are written, ``equal`` by their values."""
    every = (*matchers, *(f"{name}={text(value)}" for name, value in equal.items()))
    return f"{metric}{{{', '.join(every)}}}"


def rate(selector: str, window: str = "5m") -> str:
    """Per second, over ``window``."""
    return f"rate({selector}[{window}])"


def renamed(vector: str, ours: str, theirs: str) -> str:
    """``vector`` with the value of its label ``theirs`` in ``ours`` too, where there is one."""
    return vector if ours == theirs else f'label_replace({vector}, "{ours}", "$1", "{theirs}", "(.+)")'


def number(value: float) -> str:
    """A number, without the tail that binary fractions leave."""
    return f"{value:.9g}"
