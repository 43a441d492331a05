"""Kubernetes quantities.

Source: Kubernetes API reference, "Quantity": a decimal number with a binary suffix (``Ki``), a decimal suffix (``k``)
or an exponent. Fractional suffixes (``m``) and signs are not accepted: sizes have neither.
"""

from __future__ import annotations

import re
from fractions import Fraction

_FACTORS = {f"{prefix}i": 1 << 10 * power for power, prefix in enumerate("KMGTPE", 1)}
_FACTORS |= {prefix: 10 ** (3 * power) for power, prefix in enumerate("kMGTPE", 1)}
_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,18})?)(?:([KMGTPE]i|[kMGTPE])|([eE][-+]?[0-9]{1,2}))?")


def parse_quantity(text: str) -> int | None:
    """Bytes in a quantity (``80Gi``, ``16G``, ``1.5e9``, ``8192``), rounded down; None if it is none."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    number, suffix, exponent = match.groups()
    return int(Fraction(number + (exponent or "")) * (_FACTORS[suffix] if suffix else 1))
