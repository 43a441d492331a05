"""CEL: what parses, and which attributes are read. ``tests/lint/test_expressions.py`` asks the real Envoy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.lint import cel


@pytest.mark.parametrize(
    ("expression", "read"),
    [
        ("'test'", []),
        ("request.headers['x-a']", ["request headers x-a"]),
        ('filter_state["wasm.a"]', ["filter_state wasm.a"]),
        (
            "'x-a' in request.headers ? request.headers['x-a'] : xds.route_name",
            ["request headers?", "request headers x-a", "xds route_name"],
        ),
        ("request.headers['x-a'] == 'b' || source.port > 1 ? 'c' : 'd'", ["request headers x-a?", "source port?"]),
        ("filter_state.upstream_peer.labels['v'].value", ["filter_state upstream_peer labels v value"]),
        ("request.headers['a' + xds.route_name]", ["xds route_name", "request headers *"]),
        ("request.path.startsWith('/v1') ? 'a' : request.host", ["request path?", "request host"]),
        ("has(request.time) && !(size(request.id) > 3 || false)", ["request time?", "request id?"]),
        ("bytes(response.code) + request.id", ["response code", "request id"]),
        ("{'a': [request.host, -1]}['a'][0]", ["request host"]),
    ],
)
def test_attributes_that_are_read(expression: str, read: list[str]) -> None:
    """``?``: only to decide."""
    assert [" ".join(path) + "?" * (not shown) for path, shown in cel.attributes(expression)] == read


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("", "a value is missing before 'the end'"),
        ("request.headers['a'", r"'\]' is missing before 'the end'"),
        ("a ? b", "':' is missing before 'the end'"),
        ("a b", "'b' is one too many"),
        ("a.", "a name is missing before 'the end'"),
        ("'a", "can't be read"),
        ("a & b", "can't be read"),
        ("(" * 100, "nested too deeply"),
        ("a" * 5000, "longer than 4096"),
    ],
)
def test_no_cel(expression: str, why: str) -> None:
    with pytest.raises(cel.Unparsable, match=why):
        cel.attributes(expression)


def parses(expression: str) -> bool:
    try:
        cel.attributes(expression)
    except cel.Unparsable:
        return False
    return True


@given(st.text(max_size=40) | st.text("request.headers['x'] ?:&|()!", max_size=40))
def test_any_text_is_cel_or_not(expression: str) -> None:
    parses(expression)
