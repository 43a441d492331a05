"""Spans of string values, whatever stands before and in them."""

from __future__ import annotations

import pytest

from extproc.bodies.string_span import string_span


@pytest.mark.parametrize("value", [b'"m"', rb'"a\"b"', rb'"a\\"', rb'"\\\""', b'""'])
@pytest.mark.parametrize("body", [b'{"model":%b,"x":"y"}', b'{"x":["model"], "model" : %b}'])
def test_the_span_of_a_string_ends_at_its_own_quote(body: bytes, value: bytes) -> None:
    text = body % value
    start, end = string_span(text, "model")
    assert text[start:end] == value


def test_behind_what_only_python_reads_and_a_byte_order_mark() -> None:
    body = b'\xef\xbb\xbf{"\\u006dodels":NaN,"x":[-Infinity],"\\ud83d":"\\ud83d","model":"m"}'
    start, end = string_span(body, "model")
    assert body[start:end] == b'"m"'


def test_the_key_as_it_is_written_and_not_in_other_letters() -> None:
    body = b'{"mode\\u006c":"m","x":1}'
    start, end = string_span(body, "model")
    assert body[start:end] == b'"m"'
