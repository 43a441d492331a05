"""Keys that servers read differently: what is suspected, and what is refused."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.bodies.ambiguous_keys import check_unambiguous, is_key, may_have_duplicates
from extproc.errors import Rejected


@pytest.mark.parametrize("padding", [b"", b"x" * 10_000, b"x" * 100_000, b'","' * 5_000, b'","' * 40_000])
@pytest.mark.parametrize(
    ("body", "repeats"),
    [
        (b'{"x":"PADDING","model":"a"}', False),
        (b'{"x":"PADDING"}', False),
        (b'{"model":"a","x":"PADDING","model":"b"}', True),
        (b'{"model":"a","x":"PADDING","mo\\u0064el":"b"}', True),
        (b'{"model":"a\\n\\"","x":"PADDING"}', False),
        (b'{"model":"a\\u00e9","x":"PADDING"}', False),
        (b'{"model":"a","x":"PADDING\\\\u0041"}', True),
        (b'{"model":"a","x":"PADDING","Model":"b"}', True),
        (b'{"x":"PADDING","MODEL":"b"}', True),
        (b'{"x":"PADDING","\\u004DODEL":"b"}', True),
    ],
)
def test_a_second_key_is_suspected_whatever_stands_between(body: bytes, repeats: bool, padding: bytes) -> None:
    assert may_have_duplicates(body.replace(b"PADDING", padding), "model") == repeats


@pytest.mark.parametrize("before", [0, 1, 2, 3, 14, 15, 16])
def test_a_key_right_where_the_search_for_quotes_ends(before: int) -> None:
    """Of 64 KiB and more, one quote is tried for every 4 KiB, and the rest is searched: here 16."""
    text = b"," * 3 + b'"",' * (before // 2) + b'"' * (before % 2) + b'"model"' + b" " * 65_536
    assert not may_have_duplicates(text, "model")
    assert may_have_duplicates(text + b'"model"', "model")
    assert may_have_duplicates(text + b'"Model"', "model")


@pytest.mark.parametrize("before", [0, 1, *range(4080, 4105), *range(8176, 8200)])
def test_a_key_right_where_a_part_of_the_body_ends(before: int) -> None:
    """Of more than 4096 bytes, as many are searched behind a quote, and the text up to the next quote is not."""
    text = b'"' + b"," * before + b'"model"' + b" " * 9000
    assert not may_have_duplicates(text, "model")
    assert may_have_duplicates(text + b'"model"', "model")
    assert may_have_duplicates(b'"model"' + text, "model")
    assert may_have_duplicates(text.replace(b"model", b"mOdel"), "model")


_TEXTS = (b"", b'"', b'""', b'"model"', b'"model', b'"MODEL"', b'model"', b"\\n", b"\\u00e9", b"\\u004d", b"," * 4085)


@given(st.lists(st.sampled_from(_TEXTS), max_size=12), st.sampled_from([0, 5_000, 70_000]))
def test_bodies_of_every_size_are_searched_alike(parts: list[bytes], padding: int) -> None:
    body = b",".join(parts) + b" " * padding
    spelled = re.findall(rb'(?i:"model")', body)
    assert may_have_duplicates(body, "model") == (rb"\u004" in body or spelled not in ([], [b'"model"']))


@pytest.mark.parametrize("padding", [0, 65_536])
def test_a_key_at_the_very_start(padding: int) -> None:
    rest = b" " * padding
    assert not may_have_duplicates(b'"model"' + rest, "model")
    assert may_have_duplicates(b'"Model"' + rest, "model")
    assert may_have_duplicates(b'"model"' + rest + b'"model"', "model")
    assert may_have_duplicates(b"\\u004d" + rest, "model")


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("params", True),
        ("PaRaMs", True),
        ("param\u017f", True),
        ("PARAM\u017f", True),
        ("parak\u017f", False),
        ("param\u00df", False),
        ("param", False),
        ("", False),
    ],
)
def test_what_go_takes_for_a_key(name: str, same: bool) -> None:
    assert is_key(name, "params") is same
    assert is_key("\u212aey", "key")
    if same and name != "params":
        assert may_have_duplicates(json.dumps({name: 1}).encode(), "params")
        assert may_have_duplicates(json.dumps({name: 1}, ensure_ascii=False).encode(), "params")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"model":"a"}', None),
        (b'{"x":{"model":"a"},"model":"b"}', None),
        (b'{"x":{"model":"a"},"y":{"model":"b"}}', None),
        (b'{"x":1}', None),
        (b'{"model":"a","model":"b"}', "duplicate_model"),
        (b'{"model":"a","MODEL":"b"}', "duplicate_model"),
        (b'{"Model":"a"}', "ambiguous_model"),
        (b'{"modelId":"a"}', None),
        (b'{"modelId":"a","modelId":"b"}', "duplicate_modelId"),
        (b'{"modelId":"a","modelid":"b"}', "duplicate_modelId"),
        (b'{"MODELID":"a"}', "ambiguous_modelId"),
    ],
)
@pytest.mark.parametrize("padding", [0, 65_536])
def test_a_key_is_there_once_and_as_it_is_written(body: bytes, code: str | None, padding: int) -> None:
    key = "modelId" if b"odelI" in body or b"ODELI" in body else "model"
    body += b" " * padding
    if code is None:
        check_unambiguous(body, key)
        return
    with pytest.raises(Rejected) as caught:
        check_unambiguous(body, key)
    assert (caught.value.status, caught.value.code) == (400, code)
