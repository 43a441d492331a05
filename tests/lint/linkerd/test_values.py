"""What Linkerd can read in its annotations."""

from __future__ import annotations

import pytest
from linkerd_adapter.lint import values


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("10s", 10_000), ("500ms", 500), ("5m", 300_000), ("2h", 7_200_000), ("1d", 86_400_000), ("0", 0), (" 1s ", 1000)],
)
def test_durations(text: str, milliseconds: int) -> None:
    assert values.milliseconds(text) == milliseconds


@pytest.mark.parametrize("text", ["", "10", "s", "1.5s", "1m30s", "-1s", "1w", "1 s", "1s2", "\u0663s", "9" * 99])
def test_what_is_no_duration(text: str) -> None:
    assert values.milliseconds(text) is None


@pytest.mark.parametrize(
    ("name", "text", "readable"),
    [
        (values.RETRY + "http", "5xx", True),
        (values.RETRY + "http", "gateway-error,500-504,429", True),
        (values.RETRY + "http", "504-500", False),
        (values.RETRY + "http", "600", False),
        (values.RETRY + "http", "", False),
        (values.RETRY + "http", "500-501-502", False),
        (values.RETRY + "grpc", "Unavailable,internal", True),
        (values.RETRY + "grpc", "unavailable, internal", False),
        (values.RETRY + "limit", "65536", False),
        (values.RETRY + "limit", "3", True),
        (values.MODE, "unified", True),
        (values.MODE, "Consecutive", False),
        (values.CONSECUTIVE + "jitter-ratio", "0.5", True),
        (values.CONSECUTIVE + "jitter-ratio", "nan", False),
        (values.SUCCESS_RATE + "threshold", "1.1", False),
        (values.ALPHA + "penalize-failures", "yes", False),
        (values.ALPHA + "penalize-failures", "True", True),
    ],
)
def test_values(name: str, text: str, readable: bool) -> None:
    assert values.KNOWN[name][0](text) is readable
