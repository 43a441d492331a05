"""Quantities of bytes and durations, as Kubernetes writes them.

Sources: Kubernetes API reference, "Quantity": a decimal number with a binary suffix (``Ki``), a decimal suffix (``k``)
or an exponent. Fractional suffixes (``m``) and signs are not accepted: sizes have neither. Durations are Go's
(``time.ParseDuration``) without signs.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

_FACTORS = {f"{prefix}i": 1 << 10 * power for power, prefix in enumerate("KMGTPE", 1)}
_FACTORS |= {prefix: 10 ** (3 * power) for power, prefix in enumerate("kMGTPE", 1)}
_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,18})?)(?:([KMGTPE]i|[kMGTPE])|([eE][-+]?[0-9]{1,2}))?")
_SECONDS = {"ns": "1e-9", "us": "1e-6", "µs": "1e-6", "ms": "1e-3", "s": "1", "m": "60", "h": "3600"}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{0,9})?)(ns|us|µs|ms|s|m|h)")


def parse_quantity(text: str) -> int | None:
    """Bytes in a quantity (``80Gi``, ``16G``, ``1.5e9``, ``8192``), rounded down; None if it is none."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    number, suffix, exponent = match.groups()
    return int(Fraction(number + (exponent or "")) * (_FACTORS[suffix] if suffix else 1))


def parse_duration(text: str) -> Decimal | None:
    """Seconds in a duration (``60s``, ``1m30s``, ``500ms``); None if it is none."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum((Decimal(number) * Decimal(_SECONDS[unit]) for number, unit in parts), Decimal())
