"""Words for numbers, and what they default to."""

from __future__ import annotations

from extproc.policy.custom_metric import REQUESTS, SECONDS, SOURCES, CustomMetric


def test_words_name_their_sources() -> None:
    assert all(source.word == word and not source.header and not source.body for word, source in SOURCES.items())
    assert SECONDS.word not in SOURCES, "time is no number that a request has"


def test_a_metric_is_a_value() -> None:
    assert CustomMetric("a", "GAUGE") == CustomMetric("a", "GAUGE", (), REQUESTS, REQUESTS, 60.0, ())
    assert len({CustomMetric("a", "GAUGE"), CustomMetric("a", "GAUGE"), CustomMetric("a", "COUNTER")}) == 2
