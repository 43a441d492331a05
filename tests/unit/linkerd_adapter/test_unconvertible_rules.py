"""Matches and filters that the API server accepts and Linkerd's policy controller can't convert."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from linkerd_adapter import resources
from linkerd_adapter.unconvertible_rules import unconvertible_filter, unconvertible_match


@pytest.mark.parametrize(
    ("match", "why"),
    [
        ({}, ""),
        ({"path": {"value": "/v1"}}, ""),
        ({"path": {"value": "v1"}}, "its path 'v1' does not begin with /"),
        ({"path": {"type": "Exact", "value": ""}}, "its path '' does not begin with /"),
        ({"path": {"type": "RegularExpression", "value": "v1"}}, ""),
        ({"headers": [{"name": "x-a", "value": "b\tc ~"}]}, ""),
        ({"headers": [{"name": ":path", "value": "/"}]}, "':path' is no name of a header"),
        ({"headers": [{"name": "", "value": "a"}]}, "'' is no name of a header"),
        ({"headers": [{"name": "a", "value": "b"}, {"name": "x a", "value": "b"}]}, "'x a' is no name of a header"),
        ({"headers": [{"name": "x-a", "value": "ä"}]}, "the value 'ä' of x-a is not all visible ASCII"),
        ({"headers": [{"name": "x-a", "value": "a\nb"}]}, "the value 'a\\nb' of x-a is not all visible ASCII"),
        ({"headers": [{"name": "x-a", "value": "\x7f"}]}, "the value '\\x7f' of x-a is not all visible ASCII"),
        ({"headers": [{"name": "x-a", "value": "ä", "type": "RegularExpression"}]}, ""),
        ({"queryParams": [{"name": "a b", "value": "ä"}]}, ""),
    ],
)
def test_matches(match: dict[str, Any], why: str) -> None:
    assert unconvertible_match(msgspec.convert(match, resources.RouteMatch)) == why


def redirect(**path: str) -> dict[str, Any]:
    return {"type": "RequestRedirect", "requestRedirect": {"path": path}}


def modifier(kind: str, how: str, value: str) -> dict[str, Any]:
    return {"type": kind, kind[0].lower() + kind[1:]: {how: [{"name": "x-a", "value": value}]}}


@pytest.mark.parametrize(
    ("filter_", "why"),
    [
        ({"type": "RequestRedirect"}, ""),
        ({"type": "RequestRedirect", "requestRedirect": {}}, ""),
        ({"type": "URLRewrite"}, "it has no filter URLRewrite"),
        (redirect(replaceFullPath="/x"), ""),
        (redirect(replacePrefixMatch="/x"), ""),
        (redirect(replaceFullPath="x"), "its RequestRedirect leads to the path 'x', which does not begin with /"),
        (redirect(replacePrefixMatch=""), "its RequestRedirect leads to the path '', which does not begin with /"),
        (redirect(), "its RequestRedirect leads to the path None, which does not begin with /"),
        (redirect(replaceFullPath="/x", replacePrefixMatch="x"), ""),
        (modifier("RequestHeaderModifier", "set", "b"), ""),
        (modifier("RequestHeaderModifier", "set", "ä"), "the value 'ä' of x-a is not all visible ASCII"),
        (modifier("RequestHeaderModifier", "add", "ä"), "the value 'ä' of x-a is not all visible ASCII"),
        (modifier("ResponseHeaderModifier", "add", "ä"), "the value 'ä' of x-a is not all visible ASCII"),
    ],
)
def test_filters(filter_: dict[str, Any], why: str) -> None:
    assert unconvertible_filter(msgspec.convert(filter_, resources.Filter)) == why
