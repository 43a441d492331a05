"""The elements of an array, as it is written."""

from __future__ import annotations

import pytest

from extproc.answers.wire.bounded_buffer import MAX_WHOLE, TAIL_SIZE
from extproc.answers.wire.decoder import MAX_EVENTS, MalformedAnswer
from extproc.answers.wire.json_array import JsonArrayElements
from tests.unit.answers.wire.framing import bytewise, read


@pytest.mark.parametrize("unit", [b"[]", b'"",', b'"\\"",', b"]"])
def test_brackets_and_strings(unit: bytes) -> None:
    JsonArrayElements().feed(b"[" + unit * 900)
    with pytest.raises(MalformedAnswer):
        JsonArrayElements().feed(b"[" + unit * 9000)


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        (b'[{"a":"}]\\"{"},[[1],{"b":{}}]]', [b'{"a":"}]\\"{"}', b'[[1],{"b":{}}]']),
        (b'[1,"{}",null,{}]', [b"{}"]),
        (b'["\\\\",{"a":"\\\\"}]', [b'{"a":"\\\\"}']),
        (b'[{"a":1}', [b'{"a":1}']),
        (b'[{"a":1', []),
    ],
)
def test_elements_however_they_are_split(text: bytes, elements: list[bytes]) -> None:
    wanted = [("", element, True) for element in elements]
    assert read(JsonArrayElements, text) == wanted
    assert read(JsonArrayElements, *bytewise(text)) == wanted
    for at in range(len(text)):
        assert read(JsonArrayElements, text[:at], b"", text[at:]) == wanted


def test_an_element_is_given_with_its_last_byte() -> None:
    decoder = JsonArrayElements()
    assert decoder.feed(b'[{"a":1') == []
    assert decoder.feed(b"},") == [("", b'{"a":1}', True)]


def test_of_a_long_element_the_end_is_kept() -> None:
    element = b'{"a":"' + b"x" * MAX_WHOLE + b'"}'
    assert read(JsonArrayElements, b"[" + element, b',{"b":1}]') == [
        ("", element[-TAIL_SIZE:], False),
        ("", b'{"b":1}', True),
    ]


def test_elements_at_once() -> None:
    assert len(JsonArrayElements().feed(b"[" + b"{}," * MAX_EVENTS)) == MAX_EVENTS
    with pytest.raises(MalformedAnswer):
        JsonArrayElements().feed(b"[" + b"{}," * (MAX_EVENTS + 1))


def test_8000_strings_and_brackets_at_once() -> None:
    assert JsonArrayElements().feed(b"[" + b'"",' * 7999) == []
    with pytest.raises(MalformedAnswer):
        JsonArrayElements().feed(b"[" + b'"",' * 8000)


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5, 6])
def test_a_backslash_may_be_the_last_byte_of_a_piece(cut: int) -> None:
    text = b'["\\"]",{"a":"]\\\\"}]'
    assert read(JsonArrayElements, text[:cut], text[cut:]) == [("", b'{"a":"]\\\\"}', True)]
    assert read(JsonArrayElements, text[:cut], b"", text[cut:]) == [("", b'{"a":"]\\\\"}', True)]


@pytest.mark.parametrize("before", [b" ", b"\r\n", b"]"])
def test_what_comes_before_and_behind_the_array_is_of_no_element(before: bytes) -> None:
    pieces = [b"[", b'{"a":1}', b"]\n", b" \n"]
    wanted = [("", b'{"a":1}', True)]
    assert read(JsonArrayElements, *([b"\n", *pieces] if before == b"]" else [before, *pieces])) == wanted
    assert read(JsonArrayElements, *pieces, b"[", b'{"a":1}', b"]") == wanted * 2
