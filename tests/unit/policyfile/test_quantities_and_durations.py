"""Quantities and durations: which texts are some, and how many bytes or seconds they say."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.policyfile import quantities_and_durations
from extproc.policyfile.fields import Field
from extproc.policyfile.quantities_and_durations import parse_duration, parse_quantity
from tests.policy_documents import read_value

Reader = Callable[[Field], object]


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


@pytest.mark.parametrize(
    ("read", "text", "result"),
    [
        (quantities_and_durations.duration, "60s", 60.0),
        (quantities_and_durations.duration, "1m30s", 90.0),
        (quantities_and_durations.duration, "500ms", 0.5),
        (quantities_and_durations.duration, "1.5h", 5400.0),
        (quantities_and_durations.duration, "1ms", 0.001),
        (quantities_and_durations.duration, "24h", 86400.0),
        (quantities_and_durations.memory, "80Gi", 81920),
        (quantities_and_durations.memory, "16G", 15258),
        (quantities_and_durations.memory, "1048576", 1),
        (quantities_and_durations.body_size, "1Ki", 1024),
        (quantities_and_durations.body_size, "1Gi", 1 << 30),
        (quantities_and_durations.body_size, "4096", 4096),
    ],
)
def test_good_values(read: Reader, text: str, result: object) -> None:
    assert read_value(text, read) == (result, [])


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (quantities_and_durations.duration, "60", '"60" is not a duration; add a unit: 60ms or 60s'),
        (quantities_and_durations.duration, "1.2.3", '"1.2.3" is not a duration; write it as in 60s, 1m30s or 500ms'),
        (quantities_and_durations.duration, ".5", '".5" is not a duration; write it as in 60s, 1m30s or 500ms'),
        (quantities_and_durations.duration, "1 s", '"1 s" is not a duration; write it as in 60s, 1m30s or 500ms'),
        (quantities_and_durations.duration, "s", '"s" is not a duration'),
        (quantities_and_durations.duration, "-1s", '"-1s" is not a duration'),
        (
            quantities_and_durations.duration,
            "0s",
            "0s is out of range; give 1ms to 24h; for no timeout leave the field out",
        ),
        (quantities_and_durations.duration, "100us", "100us is out of range"),
        (quantities_and_durations.duration, "25h", "25h is out of range"),
        (quantities_and_durations.memory, "80GB", '"80GB" is not a quantity; write it as Kubernetes does: 80Gi'),
        (quantities_and_durations.memory, "80", "80 bytes is no size of a GPU's memory; give a unit: 80Gi"),
        (quantities_and_durations.memory, "-1Gi", '"-1Gi" is not a quantity'),
        (quantities_and_durations.body_size, "512", "512 bytes is out of range; give 1Ki to 1Gi"),
        (quantities_and_durations.body_size, "2Gi", "2147483648 bytes is out of range"),
        (quantities_and_durations.body_size, "8MB", "write it as Kubernetes does: 8Mi"),
    ],
)
def test_bad_values_give_nothing_and_say_why(read: Reader, text: str, said: str) -> None:
    result, (found,) = read_value(text, read)
    assert result is None
    assert said in found
