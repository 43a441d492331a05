"""Which Prometheus policies may have asked."""

from __future__ import annotations

import pytest

from extproc.fetch import prometheus_query
from extproc.kubernetes.allowed_prometheus import AllowedPrometheus


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []

    class Question:
        answered, value, problem = False, None, ""

        def __init__(self, base: str, query: str) -> None:
            found.append((base, query))

    monkeypatch.setattr(prometheus_query, "Question", Question)
    return found


@pytest.mark.parametrize(
    ("base", "named"),
    [
        ("http://prometheus.monitoring:9090", "http://prometheus.monitoring:9090"),
        ("http://PROMETHEUS.monitoring:9090/", "http://prometheus.monitoring:9090"),
        ("http://prometheus.monitoring.:9090", "http://prometheus.monitoring:9090"),
        ("https://thanos/team-a", "https://thanos:443/team-a"),
        ("http://p:80", "http://p"),
    ],
)
def test_those_that_are_named_are_asked_as_they_are_named(base: str, named: str, asked: list[tuple[str, str]]) -> None:
    """A name that ends with a dot would be looked up outside the cluster."""
    allowed = AllowedPrometheus(["http://prometheus.monitoring:9090/", "https://thanos:443/team-a/", "http://p"])
    assert allowed.ask(base, "q").problem == ""
    assert asked == [(named, "q")]


@pytest.mark.parametrize(
    "base",
    [
        "http://169.254.169.254",
        "http://localhost:9090",
        "https://prometheus:9090",
        "http://prometheus:9091",
        "http://prometheus:9090/other",
        "http://prometheus:9090@192.0.2.1",
        "http://prometheus:9090.evil.example",
        "ftp://prometheus:9090",
        "",
    ],
)
def test_others_are_not_and_the_guard_says_so(base: str, asked: list[tuple[str, str]]) -> None:
    question = AllowedPrometheus(["http://prometheus:9090"]).ask(base, "q")
    assert (question.answered, question.value) == (True, None)
    assert question.problem == f"{base} is no Prometheus that the controller may ask (its --prometheus)"
    assert asked == []


def test_none_by_default(asked: list[tuple[str, str]]) -> None:
    assert AllowedPrometheus().ask("http://prometheus:9090", "q").problem
    assert asked == []


@pytest.mark.parametrize(
    ("base", "why"),
    [
        ("prometheus:9090", "http://"),
        ("http://prometheus:9090/?tenant=a", "query"),
        ("http://prometheus:9090#a", "query"),
    ],
)
def test_what_is_no_base_url(base: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        AllowedPrometheus([base])
