"""Finding things in JSON bodies: members, scalars, what stands twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.bodies import json_scan
from extproc.bodies.request import BodyEdit
from extproc.errors import Rejected, Unreadable


@given(st.dictionaries(st.text(max_size=6), st.text(max_size=6) | st.lists(st.integers()), max_size=6), st.booleans())
def test_members_are_where_they_are_said_to_be(document: dict[str, Any], ascii_only: bool) -> None:
    body = json.dumps(document, ensure_ascii=ascii_only, indent=1).encode()
    found = [json.loads(body[start:end]) for _, start, end in json_scan.members(body)]
    assert found == list(document.values())


def test_members_of_every_shape_and_too_many_of_them() -> None:
    body = b'\xef\xbb\xbf { "a" : [ 1 , {} ] , "\\u0062":{"x":"}"}, "c":"\\"", "d":-1.5e3,"e":null ,"f":[]}'
    found = [(key, json.loads(body[start:end])) for key, start, end in json_scan.members(body)]
    assert found == [("a", [1, {}]), ("b", {"x": "}"}), ("c", '"'), ("d", -1500.0), ("e", None), ("f", [])]
    many = b"{" + b'"x":[],' * 400 + b'"y":1}'
    assert len(list(json_scan.members(many.replace(b'"x":[],', b"", 1)))) == 400
    with pytest.raises(Unreadable, match="bad_json"):
        list(json_scan.members(many))


@pytest.mark.parametrize("padding", [b"", b"x" * 100_000, b'","' * 40_000])
@pytest.mark.parametrize(
    ("body", "repeats"),
    [
        (b'{"x":"PADDING","model":"a"}', False),
        (b'{"x":"PADDING"}', False),
        (b'{"model":"a","x":"PADDING","model":"b"}', True),
        (b'{"model":"a","x":"PADDING","mo\\u0064el":"b"}', True),
        (b'{"model":"a\\n\\"","x":"PADDING"}', False),
        (b'{"model":"a\\u00e9","x":"PADDING"}', False),
        (b'{"model":"a","x":"PADDING","Model":"b"}', True),
        (b'{"x":"PADDING","MODEL":"b"}', True),
        (b'{"x":"PADDING","\\u004DODEL":"b"}', True),
    ],
)
def test_a_second_key_is_suspected_whatever_stands_between(body: bytes, repeats: bool, padding: bytes) -> None:
    assert json_scan.may_have_duplicates(body.replace(b"PADDING", padding), "model") == repeats


@pytest.mark.parametrize("before", [0, 1, 2, 3, 14, 15, 16])
def test_a_key_right_where_the_search_for_quotes_ends(before: int) -> None:
    """Of 64 KiB and more, one quote is tried for every 4 KiB, and the rest is searched: here 16."""
    text = b"," * 3 + b'"",' * (before // 2) + b'"' * (before % 2) + b'"model"' + b" " * 65_536
    assert not json_scan.may_have_duplicates(text, "model")
    assert json_scan.may_have_duplicates(text + b'"model"', "model")
    assert json_scan.may_have_duplicates(text + b'"Model"', "model")


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
    assert json_scan.is_key(name, "params") is same
    assert json_scan.is_key("\u212aey", "key")
    if same and name != "params":
        assert json_scan.may_have_duplicates(json.dumps({name: 1}).encode(), "params")
        assert json_scan.may_have_duplicates(json.dumps({name: 1}, ensure_ascii=False).encode(), "params")


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        (["user"], "ann"),
        (["metadata", "id"], "7"),
        (["metadata", "deep", "0"], "zero"),
        (["flag"], "true"),
        (["metadata"], None),
        (["metadata", "deep"], None),
        (["metadata", "deep", "1"], None),
        (["metadata", "deep", "00"], None),
        (["metadata", "deep", "0" * 10], None),
        (["metadata", "deep", "1" * 5000], None),
        (["metadata", "deep", "\u0660"], None),
        (["metadata", "deep", "-1"], None),
        (["user", "x"], None),
        (["nothing"], None),
        (["empty"], None),
        (["none"], None),
        (["a/b"], "slash"),
    ],
)
def test_scalar_at(pointer: list[str], value: str | None) -> None:
    body = b'{"user":"ann","metadata":{"id":7,"deep":["zero"]},"flag":true,"empty":"","none":null,"a/b":"slash"}'
    assert json_scan.scalar_at(body, pointer) == value
    assert json_scan.scalar_at(b"\xef\xbb\xbf" + body, pointer) == value


def test_scalar_at_in_what_only_python_reads() -> None:
    body = b'{"x":NaN,"user":{"id":"ann"},"cut":"a\\ud83d"}'
    assert json_scan.scalar_at(body, ["user", "id"]) == "ann"
    assert json_scan.scalar_at(body, ["cut"]) == "a\ufffd"
    assert json_scan.scalar_at(body, ["x"]) is None


@given(st.binary(max_size=40), st.lists(st.text(max_size=4), min_size=1, max_size=3))
def test_scalar_at_any_bytes(body: bytes, pointer: list[str]) -> None:
    value = json_scan.scalar_at(body, pointer)
    assert value is None or value != ""


def test_numbers_have_a_bound_and_texts_have_none() -> None:
    assert json_scan.scalar_at(b'{"n":' + b"1" * 18 + b"}", ["n"]) == "1" * 18
    assert json_scan.scalar_at(b'{"n":1.' + b"0" * 1022 + b"}", ["n"]) == "1.0"
    assert json_scan.scalar_at(b'{"n":1.' + b"0" * 1023 + b"}", ["n"]) is None
    assert json_scan.scalar_at(b'{"n":"' + b"1" * 2000 + b'"}', ["n"]) == "1" * 2000


@pytest.mark.parametrize("key", ["a", "é", "a b", "a/b", 'a"b', "a\\b", "a\nb", ""])
def test_a_member_of_any_name_is_found(key: str) -> None:
    body = json.dumps({"x": 1, key: {"id": "one"}, "y": [1]}).encode()
    assert json_scan.scalar_at(body, [key, "id"]) == "one"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"model":"a"}', None),
        (b'{"x":{"model":"a"},"model":"b"}', None),
        (b'{"x":1}', None),
        (b'{"model":"a","model":"b"}', "duplicate_model"),
        (b'{"model":"a","MODEL":"b"}', "duplicate_model"),
        (b'{"Model":"a"}', "ambiguous_model"),
    ],
)
def test_a_key_is_there_once_and_as_it_is_written(body: bytes, code: str | None) -> None:
    if code is None:
        json_scan.check_unambiguous(body, "model")
        return
    with pytest.raises(Rejected) as caught:
        json_scan.check_unambiguous(body, "model")
    assert (caught.value.status, caught.value.code) == (400, code)


@pytest.mark.parametrize("value", [b'"m"', rb'"a\"b"', rb'"a\\"', rb'"\\\""', b'""'])
@pytest.mark.parametrize("body", [b'{"model":%b,"x":"y"}', b'{"x":["model"], "model" : %b}'])
def test_the_span_of_a_string_ends_at_its_own_quote(body: bytes, value: bytes) -> None:
    text = body % value
    start, end = json_scan.string_span(text, "model")
    assert text[start:end] == value


def test_members_of_what_only_python_reads() -> None:
    body = b'{"\\u006dodels":NaN,"x":[-Infinity],"\\ud83d":"\\ud83d","model":"m"}'
    found = [(key, body[start:end]) for key, start, end in json_scan.members(body)]
    assert [key for key, _ in found] == ["models", "x", "\ufffd", "model"]
    assert found[-1] == ("model", b'"m"')
    assert found[1] == ("x", b"[-Infinity]")
    start, end = json_scan.string_span(b"\xef\xbb\xbf" + body, "model")
    assert (b"\xef\xbb\xbf" + body)[start:end] == b'"m"'


def test_members_of_a_key_twice_in_what_only_python_reads() -> None:
    body = b'{"a":NaN,"b":"\\ud83d","a":1}'
    assert [(key, body[start:end]) for key, start, end in json_scan.members(body)] == [
        *(("a", b"NaN"), ("b", b'"\\ud83d"'), ("a", b"1")),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32-le"])
def test_an_edit_of_the_text_is_one_of_the_body_in_its_encoding(encoding: str) -> None:
    body = '{"é":"old"}'.encode(encoding)
    text = json_scan.to_utf8(body)
    start = text.index(b"old")
    changed = json_scan.edit_of_original(body, text, BodyEdit(start, start + 3, b"new")).apply(body)
    assert json.loads(changed) == {"é": "new"}
    assert json.detect_encoding(changed) == json.detect_encoding(body)
