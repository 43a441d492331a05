"""JSON Pointers (RFC 6901) as shapes write them, in which ``*`` stands for each element of an array.

Imports nothing of ours. A pointer is taken apart once, and followed through documents of any form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

Keys: TypeAlias = tuple[str, ...]
Place: TypeAlias = tuple[str, Keys]
"""The first key, which is all that most pointers have, and the others."""

Flag: TypeAlias = tuple[str, str, Keys]
"""(a key with an array, or nothing; a key of the document or of the array's elements; others below)."""

_FLAGS = 256
"""Elements of an array that are looked at for one."""
ELEMENTS = 1024
"""Of an array: what more it has is not looked at."""


def keys_of(pointer: str) -> Keys:
    """Of a pointer without ``*``."""
    return tuple(pointer.split("/")[1:])


def place(pointer: str) -> Place:
    """Of a pointer without ``*``; empty: the whole document."""
    key, *rest = keys_of(pointer) or ("",)
    return key, tuple(rest)


def parts_of(pointer: str) -> tuple[Keys, ...]:
    """What stands before, between and behind each ``*``."""
    return tuple(tuple(part.strip("/").split("/")) if part.strip("/") else () for part in pointer.split("*"))


def at(node: Any, keys: Keys) -> Any:
    """What stands there; None where nothing does."""
    for key in keys:
        if type(node) is not dict:
            return None
        node = node.get(key)
    return node


def nodes(node: Any, around: Sequence[Keys]) -> Sequence[Any]:
    """What stands there: one node, or one for each element of the array where the one ``*`` is."""
    found = at(node, around[0])
    if len(around) == 1:
        return (found,)
    return [at(one, around[1]) for one in found[:ELEMENTS]] if type(found) is list else ()


def flag_of(pointer: str) -> Flag:
    """Of a pointer with one ``*`` at most, between two keys."""
    first, *others = parts_of(pointer)
    key, *names = others[0] if others else first
    return (first[0] if others else "", key, tuple(names))


def any_flag(document: dict[str, Any], flags: Sequence[Flag]) -> bool:
    """Whether anything stands at one of them that is not empty."""
    for array, key, rest in flags:
        if not array:
            if (node := document.get(key)) and at(node, rest):
                return True
        elif type(every := document.get(array)) is list:
            for one in every if len(every) <= _FLAGS else every[:_FLAGS]:
                if type(one) is dict and one.get(key):
                    return True
    return False
