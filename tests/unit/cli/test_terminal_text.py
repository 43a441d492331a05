"""Numbers and names on a terminal: a rounded value never hides a failure, a name never commands the terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.cli.terminal_text import NOTHING, milliseconds, percent, printable, rate


@pytest.mark.parametrize(
    ("share", "text"),
    [(None, NOTHING), (1.0, "100 %"), (0.999999, "99.99 %"), (0.9, "90.00 %"), (0.0, "0.00 %")],
)
def test_shares(share: float | None, text: str) -> None:
    assert percent(share) == text


@given(st.integers(1, 10**7), st.integers(1, 10**7))
def test_a_single_failure_is_never_rounded_away(requests: int, failures: int) -> None:
    assert percent(1 - min(failures, requests) / requests) != "100 %"


@pytest.mark.parametrize(
    ("value", "text"), [(None, NOTHING), (0.0, "0.0"), (0.04, "0.0"), (9.94, "9.9"), (9.96, "10"), (999, "999")]
)
def test_durations(value: float | None, text: str) -> None:
    assert milliseconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, NOTHING),
        (0.0, NOTHING),
        (0.02, "0.02"),
        (0.095, "0.1"),
        (99.94, "99.9"),
        (999.4, "999.4"),
        (1234.5, "1234"),
    ],
)
def test_rates(value: float | None, text: str) -> None:
    assert rate(value) == text


@given(st.text())
def test_a_terminal_gets_no_control_characters(text: str) -> None:
    assert printable(text).isprintable()
    assert len(printable(text)) == len(text)
    assert printable("llama–3 é 中") == "llama–3 é 中"  # noqa: RUF001
