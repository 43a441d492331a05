"""Patterns of model names: globs in which ``*`` stands for any text."""

from __future__ import annotations

from collections.abc import Sequence


def matches_glob(parts: Sequence[str], text: str) -> bool:
    """Whether ``text`` matches the glob that was split at ``*`` into ``parts`` (at least two)."""
    head, *middle, tail = parts
    if len(text) < len(head) + len(tail) or not text.startswith(head) or not text.endswith(tail):
        return False
    at, end = len(head), len(text) - len(tail)
    for part in middle:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True
