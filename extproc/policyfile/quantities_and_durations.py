"""Readers of quantities of bytes and of durations, as Kubernetes writes them.

Sources: Kubernetes API reference, "Quantity": a decimal number with a binary suffix (``Ki``), a decimal suffix (``k``)
or an exponent. Fractional suffixes (``m``) and signs are not accepted: sizes have neither. Durations are Go's
(``time.ParseDuration``) without signs.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

from extproc.policyfile.fields import Field
from extproc.yamldoc import quoted

MIN_BODY_SIZE, MAX_BODY_SIZE = 1 << 10, 1 << 30
"""Bytes of ``limits.maxBody``."""
MAX_TIMEOUT = 24 * 3600
"""Seconds of any duration."""

_FACTORS = {f"{prefix}i": 1 << 10 * power for power, prefix in enumerate("KMGTPE", 1)}
_FACTORS |= {prefix: 10 ** (3 * power) for power, prefix in enumerate("kMGTPE", 1)}
_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,18})?)(?:([KMGTPE]i|[kMGTPE])|([eE][-+]?[0-9]{1,2}))?")
_SECONDS = {"ns": "1e-9", "us": "1e-6", "µs": "1e-6", "ms": "1e-3", "s": "1", "m": "60", "h": "3600"}
_NUMBER = r"[0-9]{1,9}(?:\.[0-9]{0,9})?"
_DURATION = re.compile(rf"({_NUMBER})(ns|us|µs|ms|s|m|h)")


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


def duration(field: Field) -> float | None:
    """Seconds, from a duration as Go and the Gateway API write it."""
    text = field.scalar("a duration such as 60s")
    if text is None:
        return None
    seconds = parse_duration(text)
    if seconds is None:
        lacks_unit = re.fullmatch(_NUMBER, text)
        remedy = f"add a unit: {text}ms or {text}s" if lacks_unit else "write it as in 60s, 1m30s or 500ms"
        field.error(f"{quoted(text)} is not a duration", remedy)
        return None
    if not Decimal("0.001") <= seconds <= MAX_TIMEOUT:
        field.error(f"{text} is out of range", "give 1ms to 24h; for no timeout leave the field out")
        return None
    return float(seconds)


def memory(field: Field) -> int | None:
    """MiB, from a Kubernetes quantity."""
    size = _quantity(field, "80Gi")
    if size is not None and size < 1 << 20:
        field.error(f"{size} bytes is no size of a GPU's memory", "give a unit: 80Gi")
        return None
    return None if size is None else size >> 20


def body_size(field: Field) -> int | None:
    """Bytes, from a Kubernetes quantity."""
    size = _quantity(field, "8Mi")
    if size is not None and not MIN_BODY_SIZE <= size <= MAX_BODY_SIZE:
        field.error(f"{size} bytes is out of range", "give 1Ki to 1Gi")
        return None
    return size


def _quantity(field: Field, example: str) -> int | None:
    text = field.scalar(f"a quantity such as {example}")
    if text is None:
        return None
    size = parse_quantity(text)
    if size is None:
        field.error(f"{quoted(text)} is not a quantity", f"write it as Kubernetes does: {example}")
    return size
