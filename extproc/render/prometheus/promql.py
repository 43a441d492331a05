"""PromQL as text: literals, selectors, label matchers."""

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
    """A label matcher: ``label`` is one of ``values``."""
    if len(values) == 1:
        return f"{label}={text(values[0])}"
    return f"{label}=~{text('|'.join(map(exactly, values)))}"


def bound(value: float) -> str:
    """A regular expression for the label ``le``: the Prometheus client writes ``10.0``, Prometheus itself ``10``."""
    whole = f"{value:.15g}"
    return exactly(whole) if "." in whole else rf"{whole}(\.0)?"


def select(metric: str, *matchers: str, **equal: str) -> str:
    """A selector. ``matchers`` are PromQL; ``equal`` are labels and their values."""
    every = (*matchers, *(f"{name}={text(value)}" for name, value in equal.items()))
    return f"{metric}{{{', '.join(every)}}}"


def rate(selector: str, window: str = "5m") -> str:
    """The per-second rate over ``window``."""
    return f"rate({selector}[{window}])"


def renamed(vector: str, ours: str, theirs: str) -> str:
    """``vector`` with its label ``theirs`` copied to ``ours`` where it is not empty."""
    return vector if ours == theirs else f'label_replace({vector}, "{ours}", "$1", "{theirs}", "(.+)")'


def number(value: float) -> str:
    """A number with nine significant digits, which hides the rounding errors of binary fractions."""
    return f"{value:.9g}"
