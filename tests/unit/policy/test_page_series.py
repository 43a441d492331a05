"""Lines of metrics pages: which are found, and what they say."""

from __future__ import annotations

import pytest

from extproc.policy.page_series import MAX_NUMBER, MAX_SERIES, Series, find_series, lines_of, parse_number, share

LINES = lines_of((b"a", b"b_at"))


def test_lines_of_the_metrics_that_are_asked_for() -> None:
    page = b'# a 5\na{x="1",y="}"} 2.5\nab 1\n a 3\nb_at 1.8e9\na 7 1700000000\na nan\na -1\na'
    found = find_series(LINES, page, (b"b_at",))
    assert [(each.name, each.value) for each in found] == [(b"a", 2.5), (b"b_at", 1.8e9), (b"a", 7.0)]
    assert found[0].by_label == {b"x": b"1", b"y": b"}"}
    assert [each.value for each in find_series(LINES, b"b_at 1.8e9")] == []


def test_a_page_with_too_many_tells_nothing() -> None:
    assert len(find_series(LINES, b"a 1\n" * MAX_SERIES)) == MAX_SERIES
    assert find_series(LINES, b"a 1\n" * (MAX_SERIES + 1)) == []


def test_values_of_labels_may_have_anything_in_them() -> None:
    labels = rb'pod="a",other_pod="b,pod=\"c\"",odd="\\"'
    assert Series(b"a", labels, 1.0).by_label == {b"pod": b"a", b"other_pod": rb"b,pod=\"c\"", b"odd": rb"\\"}


@pytest.mark.parametrize("text", [b"", b"x", b"nan", b"inf", b"-1", b"1e9", b"1" * 65, b"9223372036854775794"])
def test_what_is_no_number(text: bytes) -> None:
    assert parse_number(text) is None


def test_numbers_and_shares() -> None:
    assert parse_number(b"0.5") == 0.5
    assert parse_number(b"1e9", 2 * MAX_NUMBER) == 1e9
    assert [share(value) for value in (None, -0.1, 0.0, 1.0, 1.1)] == [None, None, 0.0, 1.0, None]
