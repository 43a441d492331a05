"""What the API server says of a CRD's rules before it takes the CRD: fields that rules can't read, rules too dear.

Rules are walked with the schemas of what they speak of. Costs are upper estimates by the model of cel-go
(``checker/cost.go``: an identifier, a selection and an operator are 1, a comparison and a search grow with the texts,
a macro with the most items of its list) and the limits those of k8s.io/apiextensions-apiserver (``validation.go``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

import celpy
from lark import Token, Tree

RULE_LIMIT = 10_000_000
CRD_LIMIT = 100_000_000
_UNBOUNDED = 3 << 20
"""Elements of a value without a bound: as many bytes as a request may have."""
_PER_CHARACTER = 0.1
_PER_CHARACTER_OF_A_PATTERN = 0.25
_MACROS = frozenset(("all", "exists", "exists_one", "filter", "map"))

Schema = dict[str, Any]


class Unreadable(Exception):  # noqa: N818 - named for what it tells
    """A rule reads what its schema does not declare with a type; the message names it."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Of a rule: its schema, where it is a field or a literal; what it costs; its most characters or elements."""

    schema: Schema
    cost: float
    size: int = 1


def rules(crd: dict[str, Any]) -> Iterator[tuple[str, str, Schema, int]]:
    """Each rule of a CRD: where it is, its text, its schema, and how many values of that an object may have."""
    for version in crd["spec"]["versions"]:
        yield from _rules(version["schema"]["openAPIV3Schema"], "", 1)


def cost(rule: str, schema: Schema) -> int:
    """The most that one evaluation of ``rule`` costs. Raises ``Unreadable``."""
    return ceil(_cost(_ENVIRONMENT.compile(rule), {"self": schema}).cost)


def unbounded(schema: Schema, path: str = "") -> Iterator[str]:
    """The texts, lists and maps in ``schema`` that have no most length, number of items or of properties."""
    if not _is_bounded(schema):
        yield path
    for name, inner in schema.get("properties", {}).items():
        yield from unbounded(inner, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from unbounded(schema[key], f"{path}[]")


_ENVIRONMENT = celpy.Environment()


def _rules(schema: Schema, path: str, times: int) -> Iterator[tuple[str, str, Schema, int]]:
    for rule in schema.get("x-kubernetes-validations", ()):
        yield path, rule["rule"], schema, times
    for name, inner in schema.get("properties", {}).items():
        yield from _rules(inner, f"{path}.{name}", times)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from _rules(schema[key], f"{path}[]", times * _size(schema))


def _is_bounded(schema: Schema) -> bool:
    match schema.get("type"):
        case "array":
            return "maxItems" in schema
        case "object" if "additionalProperties" in schema:
            return "maxProperties" in schema
        case "string":
            return "maxLength" in schema or "enum" in schema or schema.get("format") == "date-time"
    return not schema.get("x-kubernetes-int-or-string") or "maxLength" in schema


def _size(schema: Schema) -> int:
    """Most elements of a list or map, or bytes of a text; a character may have four."""
    match schema.get("type"):
        case "array":
            return int(schema.get("maxItems", _UNBOUNDED))
        case "object":
            return int(schema.get("maxProperties", _UNBOUNDED))
        case "string" if "maxLength" in schema:
            return 4 * int(schema["maxLength"])
        case "string":
            return max((len(word) for word in schema.get("enum", ())), default=_UNBOUNDED)
    return _UNBOUNDED if schema.get("x-kubernetes-int-or-string") else 1


def _of(schema: Schema, spent: float) -> _Part:
    return _Part(schema, spent + 1, _size(schema))


def _field(part: _Part, name: str) -> _Part:
    inner = part.schema.get("properties", {}).get(name)
    if inner is None or not ("type" in inner or inner.get("x-kubernetes-int-or-string")):
        raise Unreadable(f"no field {name} that has a type")
    return _of(inner, part.cost)


def _element(part: _Part, *, key: bool = False) -> Schema:
    """The schema of what a list or map is made of, or of a map's keys."""
    inner = part.schema.get("items") or part.schema.get("additionalProperties")
    if not isinstance(inner, dict):
        raise Unreadable("neither a list nor a map")
    return {"type": "string"} if key and "items" not in part.schema else inner


def _cost(node: Tree[Token], names: dict[str, Schema]) -> _Part:
    children = [child for child in node.children if isinstance(child, Tree)]
    tokens = [str(child) for child in node.children if isinstance(child, Token)]
    match node.data:
        case "literal":
            return _Part({}, 0, len(tokens[0]))
        case "ident":
            if tokens[0] not in names:
                raise Unreadable(f"no name {tokens[0]}")
            return _of(names[tokens[0]], 0)
        case "member_dot":
            return _field(_cost(children[0], names), tokens[0])
        case "member_index":
            part, index = (_cost(child, names) for child in children)
            return _of(_element(part), part.cost + index.cost)
        case "ident_arg":
            return _Part({"type": "boolean"}, 1 + _sum(_arguments(children[0]), names))
        case "member_dot_arg":
            return _call(children[0], tokens[0], _arguments(children[1]) if len(children) > 1 else [], names)
        case "list_lit":
            parts = [_cost(child, names) for child in _arguments(children[0])]
            return _Part({"type": "array", "items": {"type": "integer"}}, 10 + sum(p.cost for p in parts), len(parts))
    return _operator(children, names)


def _operator(children: list[Tree[Token]], names: dict[str, Schema]) -> _Part:
    """What stands around one part is nothing of its own; ``!`` and ``-`` are nodes without parts beside theirs."""
    parts = [_cost(child, names) for child in children if child.children]
    spent = sum(part.cost for part in parts) + len(children) - 1
    if len(parts) == 1:
        return _Part(parts[0].schema, spent, parts[0].size)
    # relation_in, relation_eq and their like stand around the left side.
    sign = str(children[0].data)
    if sign == "relation_in":
        spent += parts[1].size
    elif sign.startswith("relation_"):
        spent += _PER_CHARACTER * min(part.size for part in parts)
    return _Part(parts[-1].schema, spent, max(part.size for part in parts))


def _arguments(listed: Tree[Token]) -> list[Tree[Token]]:
    return [child for child in listed.children if isinstance(child, Tree)]


def _sum(nodes: list[Tree[Token]], names: dict[str, Schema]) -> float:
    return sum(_cost(node, names).cost for node in nodes)


def _call(target: Tree[Token], function: str, arguments: list[Tree[Token]], names: dict[str, Schema]) -> _Part:
    part = _cost(target, names)
    if function in _MACROS:
        (name,) = arguments[0].scan_values(lambda _: True)
        inner = _cost(arguments[1], names | {str(name): _element(part, key=True)})
        # The loop's own condition and result; a list is made anew for each item that a filter takes.
        made = 15 if function in ("filter", "map") else 4
        return _Part(part.schema, part.cost + part.size * (inner.cost + made), part.size)
    parts = [_cost(argument, names) for argument in arguments]
    spent = part.cost + sum(p.cost for p in parts) + 1
    match function:
        case "matches":
            spent += ceil(_PER_CHARACTER * (part.size + 1)) * ceil(_PER_CHARACTER_OF_A_PATTERN * parts[0].size)
        case "contains":
            spent += ceil(_PER_CHARACTER * part.size) * ceil(_PER_CHARACTER * parts[0].size)
        case "startsWith":
            spent += _PER_CHARACTER * parts[0].size
        case "size":
            pass
        case _:
            raise NotImplementedError(f"what {function} costs")
    return _Part({"type": "boolean"}, spent)
