"""Numbers and names as tables and lines on a terminal show them."""

from __future__ import annotations

NOTHING = "\N{EN DASH}"
"""Where there is no value."""


def milliseconds(value: float | None) -> str:
    """A duration in milliseconds: one decimal below 10."""
    if value is None:
        return NOTHING
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def rate(per_second: float | None) -> str:
    """A rate per second; 0 is shown as ``NOTHING``."""
    if not per_second:
        return NOTHING
    return (
        f"{per_second:.2f}"
        if per_second < 0.095
        else f"{per_second:.1f}"
        if per_second < 999.5
        else f"{per_second:.0f}"
    )


def percent(share: float | None) -> str:
    """A share from 0 to 1 in percent; only 1 itself is shown as 100 %."""
    if share is None:
        return NOTHING
    return "100 %" if share == 1 else f"{min(share * 100, 99.99):.2f} %"


def printable(text: str) -> str:
    """``text`` with a replacement for each control character: names may come from outside, terminals obey these."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
