"""What Linkerd can read in its annotations."""

from __future__ import annotations

import pytest
from linkerd_adapter.lint import annotation_values


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("10s", 10_000), ("500ms", 500), ("5m", 300_000), ("2h", 7_200_000), ("1d", 86_400_000), ("0", 0), (" 1s ", 1000)],
)
def test_durations(text: str, milliseconds: int) -> None:
    assert annotation_values.milliseconds(text) == milliseconds


@pytest.mark.parametrize("text", ["", "10", "s", "1.5s", "1m30s", "-1s", "1w", "1 s", "1s2", "\u0663s", "9" * 99])
def test_what_is_no_duration(text: str) -> None:
    assert annotation_values.milliseconds(text) is None


@pytest.mark.parametrize(
    ("name", "text", "readable"),
    [
        (annotation_values.RETRY + "http", "5xx", True),
        (annotation_values.RETRY + "http", "gateway-error,500-504,429", True),
        (annotation_values.RETRY + "http", "504-500", False),
        (annotation_values.RETRY + "http", "600", False),
        (annotation_values.RETRY + "http", "", False),
        (annotation_values.RETRY + "http", "500-501-502", False),
        (annotation_values.RETRY + "grpc", "Unavailable,internal", True),
        (annotation_values.RETRY + "grpc", "unavailable, internal", False),
        (annotation_values.RETRY + "limit", "65536", False),
        (annotation_values.RETRY + "limit", "3", True),
        (annotation_values.MODE, "unified", True),
        (annotation_values.MODE, "Consecutive", False),
        (annotation_values.CONSECUTIVE + "jitter-ratio", "0.5", True),
        (annotation_values.CONSECUTIVE + "jitter-ratio", "nan", False),
        (annotation_values.SUCCESS_RATE + "threshold", "1.1", False),
        (annotation_values.ALPHA + "penalize-failures", "yes", False),
        (annotation_values.ALPHA + "penalize-failures", "True", True),
    ],
)
def test_values(name: str, text: str, readable: bool) -> None:
    assert annotation_values.ANNOTATIONS[name][0](text) is readable


@pytest.mark.parametrize(
    ("ports", "port", "named"),
    [
        ("80", 80, True),
        ("80", 8080, False),
        ("25,587, 3306", 3306, True),
        ("8000-8010", 8000, True),
        ("8000-8010", 8010, True),
        ("8000-8010", 8011, False),
        ("8000-8010", 7999, False),
        ("8010-8000", 8005, False),
        ("http,80", 80, True),
        ("80-", 80, False),
        ("-80", 80, False),
        ("", 0, False),
        ("8" * 6, 88888, False),
    ],
)
def test_lists_of_ports(ports: str, port: int, named: bool) -> None:
    assert annotation_values.names_port(ports, port) is named


@pytest.mark.parametrize("port", [25, 587, 3306, 4444, 5432, 6379, 9300, 11211])
def test_ports_that_are_opaque_by_default(port: int) -> None:
    assert annotation_values.names_port(annotation_values.DEFAULT_OPAQUE_PORTS, port)
    assert not annotation_values.names_port(annotation_values.DEFAULT_OPAQUE_PORTS, port + 1)


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        (annotation_values.RETRY + "limit", 65535),
        (annotation_values.CONSECUTIVE + "max-failures", 2**32 - 1),
        (annotation_values.SUCCESS_RATE + "min-requests", 1_000_000),
    ],
)
def test_counts_have_limits(name: str, limit: int) -> None:
    readable = annotation_values.ANNOTATIONS[name][0]
    assert readable("0")
    assert readable(str(limit))
    assert not readable(str(limit + 1))
    assert not any(map(readable, ["-1", "1.0", "", "\u0663", "9" * 30]))


def test_every_annotation_says_how_its_values_are_written() -> None:
    for name, (_, written) in annotation_values.ANNOTATIONS.items():
        assert name.startswith(annotation_values.PREFIXES)
        assert written
