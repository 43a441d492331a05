"""Guards of rollouts by PromQL: what a real Prometheus answers is read as one number, or as none."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.fetch.prometheus_query import UnusableAnswerError, ask

from .server import Prometheus


def test_what_prometheus_answers(prometheus_program: str, tmp_path: Path) -> None:
    with Prometheus(prometheus_program, tmp_path) as prometheus:
        assert ask(prometheus.url, "vector(0.25) * 2") == 0.5
        assert ask(prometheus.url, "scalar(vector(-3))") == -3
        assert ask(prometheus.url, "7") == 7
        for query, why in (
            ('my_quality_score{version="v2"}', "gives a vector of 0"),
            ("vector(0) / vector(0)", "the value is NaN"),
            ("vector(1) / vector(0)", "the value is .Inf"),
            ('label_replace(vector(1), "a", "b", "", "") or vector(2)', "gives a vector of 2"),
            ('"text"', "gives a string of 2"),
            ("sum by (", "answers with status 400"),
        ):
            with pytest.raises(UnusableAnswerError, match=why):
                ask(prometheus.url, query)
