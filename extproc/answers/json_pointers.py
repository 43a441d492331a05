"""JSON Pointers (RFC 6901) as answer shapes write them, in which ``*`` stands for each element of an array.

A pointer is taken apart once, and followed through documents of any form. ``~`` is not an escape here: no API has a
member whose name would need one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

Keys: TypeAlias = tuple[str, ...]
SplitPath: TypeAlias = tuple[str, Keys]
"""The first key, which is all that most pointers have, and the keys below it."""
ElementPath: TypeAlias = tuple[str, str, Keys]
"""The key of an array, or empty; a key of the document or of the array's elements; the keys below that."""

MAX_ELEMENTS = 1024
"""Elements of one array that are read."""
_MAX_FLAGS = 256
"""Elements of one array in which ``any_set`` looks, as it does for every event."""


def keys_of(pointer: str) -> Keys:
    """Of a pointer without ``*``."""
    return tuple(pointer.split("/")[1:])


def split_path(pointer: str) -> SplitPath:
    """Of a pointer without ``*``; the first key is empty for the whole document."""
    key, *rest = keys_of(pointer) or ("",)
    return key, tuple(rest)


def parts_of(pointer: str) -> tuple[Keys, ...]:
    """The keys before, between and behind each ``*``."""
    return tuple(tuple(part.strip("/").split("/")) if part.strip("/") else () for part in pointer.split("*"))


def element_path(pointer: str) -> ElementPath:
    """Of a pointer with at most one ``*``, which stands between two keys."""
    first, *others = parts_of(pointer)
    key, *names = others[0] if others else first
    return (first[0] if others else "", key, tuple(names))


def value_at(node: Any, keys: Keys) -> Any:
    """The value below ``keys``; None where there is none."""
    for key in keys:
        if type(node) is not dict:
            return None
        node = node.get(key)
    return node


def values_at(node: Any, parts: Sequence[Keys]) -> Sequence[Any]:
    """The value, or that of each element of the array where ``parts`` are of a pointer with one ``*``."""
    found = value_at(node, parts[0])
    if len(parts) == 1:
        return (found,)
    return [value_at(element, parts[1]) for element in found[:MAX_ELEMENTS]] if type(found) is list else ()


def any_set(document: dict[str, Any], paths: Sequence[ElementPath]) -> bool:
    """Whether a value at one of ``paths`` is not empty."""
    for array, key, rest in paths:
        if not array:
            if (node := document.get(key)) and value_at(node, rest):
                return True
        elif type(elements := document.get(array)) is list:
            for element in elements if len(elements) <= _MAX_FLAGS else elements[:_MAX_FLAGS]:
                if type(element) is dict and (node := element.get(key)) and (not rest or value_at(node, rest)):
                    return True
    return False
