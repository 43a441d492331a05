"""Objects against the structural schemas of CRDs (OpenAPI v3, as Kubernetes restricts it), closed to unknown fields.

Where the API server would prune a field silently, this calls it a problem. A keyword that isn't known here raises.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import datetime
from typing import Any

import re2

from tests.manifests import cel

Schema = dict[str, Any]

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
_TEXT = frozenset({"description", "title", "example", "externalDocs", "default", "x-kubernetes-map-type"})
"""Keywords that refuse nothing."""


def defaulted(schema: Schema, value: Any) -> Any:
    """``value`` with the defaults of ``schema`` where a field is missing, as the API server fills them in."""
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        missing = {k: deepcopy(v["default"]) for k, v in known.items() if k not in value and "default" in v}
        inner = others if isinstance(others, dict) else {}
        return {k: defaulted(known.get(k, inner), v) for k, v in (value | missing).items()}
    if isinstance(value, list):
        return [defaulted(schema.get("items", {}), item) for item in value]
    return value


def problems(schema: Schema, value: Any, path: str) -> Iterator[str]:
    """What ``schema`` says against ``value``, each with its path."""
    if value is None:
        if not schema.get("nullable"):
            yield f"{path}: is null"
        return
    if not _typed(schema, value):
        yield f"{path}: must be of type {schema.get('type') or 'integer or string'}: {_shown(value)}"
        return
    yield from _asserted(schema, value, path)
    if isinstance(value, dict):
        yield from _fields(schema, value, path)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from problems(schema.get("items", {}), item, f"{path}[{i}]")
    yield from cel.problems(schema, value, path)


def _typed(schema: Schema, value: Any) -> bool:
    if schema.get("x-kubernetes-int-or-string"):
        return isinstance(value, int | str) and not isinstance(value, bool)
    wanted = schema.get("type")
    if wanted is None:
        return True
    return isinstance(value, _TYPES[wanted]) and (wanted == "boolean" or not isinstance(value, bool))


def _fields(schema: Schema, value: dict[str, Any], path: str) -> Iterator[str]:
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    for key, inner in value.items():
        if key in known:
            yield from problems(known[key], inner, f"{path}.{key}")
        elif isinstance(others, dict):
            yield from problems(others, inner, f"{path}.{key}")
        elif not others and not schema.get("x-kubernetes-preserve-unknown-fields"):
            yield f"{path}.{key}: no such field"


def _asserted(schema: Schema, value: Any, path: str) -> Iterator[str]:
    """The keywords that speak of the value itself. In ``anyOf`` and the like they stand without types."""
    for keyword, wanted in schema.items():
        if keyword not in _CHECKS:
            if keyword not in _TEXT:
                raise NotImplementedError(f"{path}: the keyword {keyword} of schemas")
        elif message := _CHECKS[keyword](schema, wanted, value):
            yield f"{path}: {message}"


def _holds(schema: Schema, value: Any) -> bool:
    """Whether a schema within ``anyOf``, ``oneOf``, ``allOf`` or ``not``, which is never closed, takes ``value``."""
    if any(_asserted(schema, value, "")) or not _typed(schema, value):
        return False
    if isinstance(value, dict):
        return all(_holds(inner, value[k]) for k, inner in schema.get("properties", {}).items() if k in value)
    if isinstance(value, list) and "items" in schema:
        return all(_holds(schema["items"], item) for item in value)
    return True


Check = Callable[[Schema, Any, Any], str | None]


def _when(types: type | tuple[type, ...], refused: Callable[[Any, Any], object], message: str) -> Check:
    def check(_: Schema, wanted: Any, value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, types) or not refused(wanted, value):
            return None
        return message.format(wanted=wanted, value=_shown(value))

    return check


def _junctor(refused: Callable[[int, int], bool], message: str) -> Check:
    def check(_: Schema, wanted: list[Schema], value: Any) -> str | None:
        held = sum(_holds(inner, value) for inner in wanted)
        return message.format(all=len(wanted), held=held, wanted=wanted) if refused(held, len(wanted)) else None

    return check


def _none(_: Schema, __: Any, ___: Any) -> None:
    """Seen to elsewhere."""


def _enum(_: Schema, wanted: list[Any], value: Any) -> str | None:
    return None if value in wanted else f"{_shown(value)} is none of {wanted}"


def _required(_: Schema, wanted: list[str], value: Any) -> str | None:
    missing = [name for name in wanted if name not in value] if isinstance(value, dict) else []
    return f"misses {', '.join(missing)}" if missing else None


def _not(_: Schema, wanted: Schema, value: Any) -> str | None:
    return f"must not be {wanted}" if _holds(wanted, value) else None


def _listed(schema: Schema, wanted: str, value: Any) -> str | None:
    if wanted == "atomic" or not isinstance(value, list):
        return None
    names = schema.get("x-kubernetes-list-map-keys", ())
    keys = [json.dumps([item.get(n) for n in names] if names else item, sort_keys=True) for item in value]
    twice = {key for key in keys if keys.count(key) > 1}
    return f"{', '.join(names) or 'an item'} twice: {', '.join(sorted(twice))}" if twice else None


def _formatted(_: Schema, wanted: str, value: Any) -> str | None:
    try:
        _FORMATS[wanted](value)
    except (ValueError, TypeError):
        return f"{_shown(value)} is no {wanted}"
    return None


def _between(low: int, high: int) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if not low <= value <= high:
            raise ValueError

    return check


_FORMATS: dict[str, Callable[[Any], object]] = {
    "int32": _between(-(2**31), 2**31 - 1),
    "int64": _between(-(2**63), 2**63 - 1),
    "double": float,
    "float": float,
    "date-time": datetime.fromisoformat,
    "duration": cel.duration,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "byte": lambda value: value.encode("ascii"),
}

_SIZED, _NUMBER = (str, list, dict), (int, float)
_CHECKS: dict[str, Check] = {
    **dict.fromkeys(
        (
            *("type", "nullable", "properties", "additionalProperties", "items"),
            *("x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"),
            *("x-kubernetes-validations", "x-kubernetes-list-map-keys"),
        ),
        _none,
    ),
    "enum": _enum,
    "required": _required,
    "pattern": _when(str, lambda p, v: not re2.search(p, v), "{value} does not match {wanted}"),
    "format": _formatted,
    "minLength": _when(str, lambda n, v: len(v) < n, "shorter than {wanted}: {value}"),
    "maxLength": _when(str, lambda n, v: len(v) > n, "longer than {wanted}: {value}"),
    "minItems": _when(list, lambda n, v: len(v) < n, "fewer than {wanted} items"),
    "maxItems": _when(list, lambda n, v: len(v) > n, "more than {wanted} items"),
    "minProperties": _when(dict, lambda n, v: len(v) < n, "fewer than {wanted} fields"),
    "maxProperties": _when(dict, lambda n, v: len(v) > n, "more than {wanted} fields"),
    "minimum": _when(_NUMBER, lambda n, v: v < n, "{value} is less than {wanted}"),
    "maximum": _when(_NUMBER, lambda n, v: v > n, "{value} is more than {wanted}"),
    "x-kubernetes-list-type": _listed,
    "anyOf": _junctor(lambda held, _: not held, "fits none of anyOf {wanted}"),
    "oneOf": _junctor(lambda held, _: held != 1, "fits {held} of oneOf {wanted}, not one"),
    "allOf": _junctor(lambda held, every: held < every, "fits {held} of allOf {wanted}"),
    "not": _not,
}


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."
