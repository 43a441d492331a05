"""Annotations that Linkerd does not have, and values that it can not read."""

from __future__ import annotations

from pathlib import Path

import pytest
from linkerd_adapter.lint import linkerd_annotations

from tests.lint.linkerd.corpus import bad, check, codes, route, service


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("10s", 10_000), ("500ms", 500), ("5m", 300_000), ("2h", 7_200_000), ("1d", 86_400_000), ("0", 0), (" 1s ", 1000)],
)
def test_durations(text: str, milliseconds: int) -> None:
    assert linkerd_annotations.milliseconds(text) == milliseconds


@pytest.mark.parametrize("text", ["", "10", "s", "1.5s", "1m30s", "-1s", "1w", "1 s", "1s2", "\u0663s", "9" * 99])
def test_what_is_no_duration(text: str) -> None:
    assert linkerd_annotations.milliseconds(text) is None


@pytest.mark.parametrize(
    ("name", "text", "readable"),
    [
        (linkerd_annotations.RETRY + "http", "5xx", True),
        (linkerd_annotations.RETRY + "http", "gateway-error,500-504,429", True),
        (linkerd_annotations.RETRY + "http", "504-500", False),
        (linkerd_annotations.RETRY + "http", "600", False),
        (linkerd_annotations.RETRY + "http", "", False),
        (linkerd_annotations.RETRY + "http", "500-501-502", False),
        (linkerd_annotations.RETRY + "grpc", "Unavailable,internal", True),
        (linkerd_annotations.RETRY + "grpc", "unavailable, internal", False),
        (linkerd_annotations.RETRY + "limit", "65536", False),
        (linkerd_annotations.RETRY + "limit", "3", True),
        (linkerd_annotations.MODE, "unified", True),
        (linkerd_annotations.MODE, "Consecutive", False),
        (linkerd_annotations.CONSECUTIVE + "jitter-ratio", "0.5", True),
        (linkerd_annotations.CONSECUTIVE + "jitter-ratio", "nan", False),
        (linkerd_annotations.SUCCESS_RATE + "threshold", "1.1", False),
        (linkerd_annotations.ALPHA + "penalize-failures", "yes", False),
        (linkerd_annotations.ALPHA + "penalize-failures", "True", True),
    ],
)
def test_values(name: str, text: str, readable: bool) -> None:
    assert linkerd_annotations.ANNOTATIONS[name][0](text) is readable


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
    assert linkerd_annotations.names_port(ports, port) is named


@pytest.mark.parametrize("port", [25, 587, 3306, 4444, 5432, 6379, 9300, 11211])
def test_ports_that_are_opaque_by_default(port: int) -> None:
    assert linkerd_annotations.names_port(linkerd_annotations.DEFAULT_OPAQUE_PORTS, port)
    assert not linkerd_annotations.names_port(linkerd_annotations.DEFAULT_OPAQUE_PORTS, port + 1)


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        (linkerd_annotations.RETRY + "limit", 65535),
        (linkerd_annotations.CONSECUTIVE + "max-failures", 2**32 - 1),
        (linkerd_annotations.SUCCESS_RATE + "min-requests", 1_000_000),
    ],
)
def test_counts_have_limits(name: str, limit: int) -> None:
    readable = linkerd_annotations.ANNOTATIONS[name][0]
    assert readable("0")
    assert readable(str(limit))
    assert not readable(str(limit + 1))
    assert not any(map(readable, ["-1", "1.0", "", "\u0663", "9" * 30]))


def test_every_annotation_says_how_its_values_are_written() -> None:
    for name, (_, written) in linkerd_annotations.ANNOTATIONS.items():
        assert name.startswith(linkerd_annotations.PREFIXES)
        assert written


@pytest.mark.parametrize("file", bad(linkerd_annotations.RULES), ids=lambda file: file.stem)
def test_its_bad_manifests(file: Path) -> None:
    check(file)


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("timeout.linkerd.io/idle", "90s", []),
        ("timeout.linkerd.io/idle", "1m30s", ["LNK604"]),
        ("timeout.linkerd.io/idel", "90s", ["LNK611"]),
        ("balancer.linkerd.io/failure-accrual", "gentle", ["LNK604"]),
        ("example.com/timeout", "x", []),
    ],
)
def test_annotations_of_routes_and_services(key: str, value: str, found: list[str]) -> None:
    metadata = f", annotations: {{{key}: '{value}'}}"
    assert codes(route("{}", metadata=metadata), linkerd_annotations.RULES) == found
    assert codes(service("llm", metadata=metadata), linkerd_annotations.RULES) == found
