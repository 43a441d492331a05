"""What Linkerd's policy controller can't convert of a rule, though the API server accepts it. Pure.

Source: linkerd2, ``policy-controller/k8s/index/src/routes/http.rs`` and ``outbound/index/http.rs``. One such value in a
match or a filter voids the whole route.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from linkerd_adapter import resources as k8s

FILTERS = ("RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect")
"""Types of filters that Linkerd supports."""
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""Of header names: a token, RFC 9110 section 5.6.2."""
HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
"""Of header values that the ``http`` crate parses from a text: visible ASCII, spaces and tabs."""


def unconvertible_match(match: k8s.RouteMatch) -> str:
    """Why a match can't be converted; empty where it can. Patterns are judged elsewhere."""
    if match.path and match.path.type != "RegularExpression" and not match.path.value.startswith("/"):
        return f"its path {match.path.value!r} does not begin with /"
    return _unconvertible_headers((h.name, h.value if h.type == "Exact" else "") for h in match.headers)


def unconvertible_filter(found: k8s.Filter) -> str:
    """Why a filter can't be converted; empty where it can."""
    if found.type not in FILTERS:
        return f"it has no filter {found.type}"
    path = found.requestRedirect.path if found.requestRedirect else None
    if path:
        to = path.replacePrefixMatch if path.replaceFullPath is None else path.replaceFullPath
        if to is None or not to.startswith("/"):
            return f"its RequestRedirect leads to the path {to!r}, which does not begin with /"
    for modifier in (found.requestHeaderModifier, found.responseHeaderModifier):
        if modifier and (why := _unconvertible_headers((h.name, h.value) for h in (*modifier.set, *modifier.add))):
            return why
    return ""


def _unconvertible_headers(pairs: Iterable[tuple[str, str]]) -> str:
    for name, value in pairs:
        if not HEADER_NAME.fullmatch(name):
            return f"{name!r} is no name of a header"
        if not HEADER_VALUE.fullmatch(value):
            return f"the value {value!r} of {name} is not all visible ASCII"
    return ""
