"""What ``benchmarks.cold`` counts is a request that is decided."""

from __future__ import annotations

import pytest

from benchmarks import cold


@pytest.mark.parametrize("kind", cold.KINDS)
def test_its_requests_are_decided(kind: str) -> None:
    answers = cold.serve(cold.KINDS[kind], 2)
    assert [answer.count(b"x-model-version") for answer in answers] == [1, 1]
