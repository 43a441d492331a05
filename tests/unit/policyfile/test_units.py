"""Quantities and durations: which texts are some, and how many bytes or seconds they say."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.policyfile.units import parse_duration, parse_quantity


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("0", 0), ("8192", 8192), ("8Ki", 8192), ("1Mi", 1 << 20), ("80Gi", 80 << 30), ("1Ti", 1 << 40)),
        *(("1Pi", 1 << 50), ("1Ei", 1 << 60), ("1k", 1000), ("2M", 2_000_000), ("16G", 16 * 10**9)),
        *(("1T", 10**12), ("1P", 10**15), ("2E", 2 * 10**18), ("1e3", 1000), ("1.5E6", 1_500_000), ("1e-1", 0)),
        *(("1.5Gi", 3 << 29), ("0.1Ki", 102), ("1.Gi", 1 << 30), ("1e+3", 1000), ("25e-1", 2)),
    ],
)
def test_suffixes_and_exponents_multiply(text: str, size: int) -> None:
    assert parse_quantity(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "Gi", "-1", "+1", "1GB", "1gi", "1 Gi", "1K", "1m", "one", "1e999", "9" * 19, ".5Gi", "٨Gi", "1Gi\n", "1e3Gi"],
)
def test_no_quantity(text: str) -> None:
    assert parse_quantity(text) is None


@given(st.integers(0, 10**17), st.sampled_from(["Ki", "Mi", "Gi", "Ti"]))
def test_quantities_are_exact(number: int, suffix: str) -> None:
    assert parse_quantity(f"{number}{suffix}") == number << 10 * (1 + ["Ki", "Mi", "Gi", "Ti"].index(suffix))


@given(st.text())
def test_any_text_has_an_answer(text: str) -> None:
    size = parse_quantity(text)
    assert size is None or (size >= 0 and text[0].isdigit())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("60s", "60"),
        ("1m30s", "90"),
        ("500ms", "0.5"),
        ("1.5h", "5400"),
        ("0s", "0"),
        ("10us10µs", "0.00002"),
        ("1ns", "1e-9"),
    ],
)
def test_parts_of_a_duration_add_up(text: str, seconds: str) -> None:
    assert parse_duration(text) == Decimal(seconds)


@pytest.mark.parametrize("text", ["", "60", "s", "-1s", "+1s", "1 s", "1d", "1s ", "1sm", ".5s", "٣s", "1s1"])
def test_no_duration(text: str) -> None:
    assert parse_duration(text) is None
