"""What ``benchmarks.cold`` counts is a request that is decided: each sees to that itself."""

from __future__ import annotations

import pytest

from benchmarks import cold


@pytest.mark.parametrize("kind", cold.KINDS)
def test_its_requests_are_decided(kind: str) -> None:
    cold.serve(cold.KINDS[kind], 2)
