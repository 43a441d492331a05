"""The rules of CRDs (``x-kubernetes-validations``), evaluated as the API server does: celpy, and what Kubernetes adds.

A rule that can't be compiled raises; one that fails as it runs is a problem like any other, since the API server
refuses the object then, too. Nothing is skipped: a rule is either evaluated or there is a noise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import SplitResult, urlsplit

import celpy
from celpy import celtypes as cel
from celpy.evaluation import CELEvalError, base_functions

RESERVED = frozenset(
    (
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if"),
        *("import", "let", "loop", "package", "namespace", "return", "var", "void", "while"),
    )
)
"""Words of CEL: the field ``namespace`` is written ``__namespace__`` in rules."""


def problems(schema: dict[str, Any], value: object, path: str) -> Iterator[str]:
    """What the rules of ``schema`` itself, not of the schemas in it, say against ``value``, defaults filled in."""
    rules = schema.get("x-kubernetes-validations", ())
    if not rules:
        return
    subject = of(schema, value)
    for rule in rules:
        text = rule["rule"]
        message = " ".join((rule.get("message") or text).split())
        try:
            held = _program(text).evaluate({"self": subject})
        except CELEvalError as e:
            yield f"{path}: a rule fails as it runs: {text}: {e.args[0]}"
            continue
        if not isinstance(held, bool | cel.BoolType):
            raise TypeError(f"a rule that answers neither yes nor no: {text}: {held!r}")
        if not held:
            yield f"{path}: {message}"


def of(schema: dict[str, Any], value: object) -> Any:
    """``value`` as the type of CEL that its schema declares for it."""
    if value is None:
        return None
    match value:
        case dict():
            known, others = schema.get("properties", {}), schema.get("additionalProperties")
            closed = isinstance(others, dict) and not known
            inner = others if isinstance(others, dict) else {}
            return cel.MapType(
                {cel.StringType(k if closed else _escaped(k)): of(known.get(k, inner), v) for k, v in value.items()}
            )
        case list():
            return cel.ListType([of(schema.get("items", {}), item) for item in value])
        case bool():
            return cel.BoolType(value)
        case int() | float() if schema.get("type") == "number" or isinstance(value, float):
            return cel.DoubleType(value)
        case int():
            return cel.IntType(value)
        case str() if schema.get("format") == "duration":
            return duration(value)
    return cel.StringType(str(value))


def _escaped(name: str) -> str:
    if name in RESERVED:
        return f"__{name}__"
    for plain, written in (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__")):
        name = name.replace(plain, written)
    return name


_ENVIRONMENT = celpy.Environment()


@cache
def _program(rule: str) -> celpy.Runner:
    return _ENVIRONMENT.program(_ENVIRONMENT.compile(rule), functions=_FUNCTIONS)


def duration(text: Any) -> Any:
    """Go's duration; celpy would take days, too."""
    if isinstance(text, str) and "d" in text:
        raise ValueError(f"Invalid duration {text!r}")
    return cel.DurationType(text)


def _substring(text: str, start: int, end: int | None = None) -> Any:
    last = len(text) if end is None else end
    if not 0 <= start <= last <= len(text):
        raise ValueError(f"substring({start}, {last}) of {text!r}")
    return cel.StringType(text[start:last])


def _split(text: str, by: str) -> Any:
    return cel.ListType([cel.StringType(part) for part in text.split(by)])


def _is_url(text: str) -> Any:
    """Absolute, or a path from the root: what Go's ``url.ParseRequestURI`` takes."""
    return cel.BoolType(_parsed(text) is not None)


def _url(text: str) -> Any:
    if _parsed(text) is None:
        raise ValueError(f"not a URL: {text!r}")
    return cel.StringType(text)


def _scheme(url: str) -> Any:
    parsed = _parsed(url)
    return cel.StringType(parsed.scheme if parsed else "")


def _parsed(text: str) -> SplitResult | None:
    if not text or re.search(r"[\x00-\x20\x7f]", text):
        return None
    try:
        parsed = urlsplit(text)
        _ = parsed.port
    except ValueError:
        return None
    return parsed if parsed.scheme or text.startswith("/") else None


_FUNCTIONS: dict[str, Any] = {
    **base_functions,
    "duration": duration,
    "substring": _substring,
    "split": _split,
    "isURL": _is_url,
    "url": _url,
    "getScheme": _scheme,
}
"""What our CRDs call. A function that isn't here makes its rule fail as it runs, which is a problem, not silence."""
