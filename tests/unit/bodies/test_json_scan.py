"""Finding things in JSON bodies: members and scalars."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.bodies import json_scan
from extproc.bodies.request import BodyEdit
from extproc.errors import Unreadable


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
        (["metadata", "deep", "2"], None),
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
    assert json_scan.scalar_at(b'{"bracket":"[x"}', ["bracket"]) == "[x"


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


def test_members_of_what_only_python_reads() -> None:
    body = b'{"\\u006dodels":NaN,"x":[-Infinity],"\\ud83d":"\\ud83d","model":"m"}'
    found = [(key, body[start:end]) for key, start, end in json_scan.members(body)]
    assert [key for key, _ in found] == ["models", "x", "\ufffd", "model"]
    assert found[-1] == ("model", b'"m"')
    assert found[1] == ("x", b"[-Infinity]")


def test_members_of_a_key_twice_in_what_only_python_reads() -> None:
    body = b'{"a":NaN,"b":"\\ud83d","a":1}'
    assert [(key, body[start:end]) for key, start, end in json_scan.members(body)] == [
        *(("a", b"NaN"), ("b", b'"\\ud83d"'), ("a", b"1")),
    ]


def test_members_of_keys_that_are_not_utf_8() -> None:
    body = b'{"\xff":1,"model":"\x7f","\x80":[]}'
    assert [(key, body[start:end]) for key, start, end in json_scan.members(body)] == [
        *(("\ufffd", b"1"), ("model", b'"\x7f"'), ("\ufffd", b"[]")),
    ]


def test_texts_that_do_not_begin_as_json_does() -> None:
    assert json_scan.to_utf8(b"1") == b"1"
    assert json_scan.to_utf8("\ufeff\u3042".encode("utf-16-le")) == "\u3042".encode()
    assert json_scan.to_utf8(b"\xff\xfe\x42\x30") == "\u3042".encode()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32-le"])
def test_an_edit_of_the_text_is_one_of_the_body_in_its_encoding(encoding: str) -> None:
    body = '{"é":"old"}'.encode(encoding)
    text = json_scan.to_utf8(body)
    start = text.index(b"old")
    changed = json_scan.edit_of_original(body, text, BodyEdit(start, start + 3, b"new")).apply(body)
    assert json.loads(changed) == {"é": "new"}
    assert json.detect_encoding(changed) == json.detect_encoding(body)
