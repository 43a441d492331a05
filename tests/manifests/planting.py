"""Mistakes for validators to find."""

from __future__ import annotations

from copy import deepcopy
from typing import Any


def planted(base: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy with ``value`` at ``path``; one past the end of a list appends."""
    manifest = deepcopy(base)
    keys: list[Any] = [int(key) if key.isdigit() else key for key in path.split(".")]
    *parents, last = keys
    at: Any = manifest
    for key in parents:
        at = at[key] if isinstance(at, list) or key in at else at.setdefault(key, [])
    if isinstance(at, list) and last == len(at):
        at.append(value)
    else:
        at[last] = value
    return manifest
