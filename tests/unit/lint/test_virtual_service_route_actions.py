"""Routes that istiod refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc.lint import virtual_service_route_actions
from tests.lint import corpus
from tests.lint.istio_objects import resource


@corpus.bad(virtual_service_route_actions)
def test_bad_manifests_of_the_corpus(path: Path) -> None:
    assert corpus.found(virtual_service_route_actions, path) == corpus.expected(virtual_service_route_actions, path)


def test_good_manifests_of_the_corpus() -> None:
    assert corpus.found_in_good(virtual_service_route_actions) == []


def codes(text: str) -> list[str]:
    return corpus.found_codes(virtual_service_route_actions, text)


TO = {"route": [{"destination": {"host": "llama"}}]}


def routed(route: dict[str, Any], **spec: Any) -> str:
    return resource("VirtualService", hosts=["a.example.com"], http=[route], **spec)


@pytest.mark.parametrize(
    ("route", "found"),
    [
        (TO, 0),
        ({}, 1),
        ({"redirect": {"uri": "/a"}}, 0),
        ({**TO, "redirect": {"uri": "/a"}}, 1),
        ({**TO, "redirect": {"uri": "/a"}, "delegate": {"name": "b"}}, 2),
        ({"redirect": {"uri": "/a"}, "rewrite": {"uri": "/b"}, "fault": {}}, 2),
        ({"directResponse": {"status": 200}, "fault": {"abort": {}}}, 1),
        ({**TO, "rewrite": {"uri": "/b"}}, 0),
        ({**TO, "mirror": {"host": "b"}, "mirrors": [{"destination": {"host": "c"}}]}, 1),
        ({**TO, "mirror": {"host": "b"}, "mirrorPercentage": {"value": 100}}, 0),
        ({**TO, "mirror": {"host": "b"}, "mirrorPercentage": {"value": 100.1}}, 1),
        ({**TO, "mirror": {"host": "b"}, "mirrorPercent": -1}, 1),
        ({**TO, "mirrors": [{"destination": {"host": "c"}, "percentage": {"value": 101}}]}, 1),
    ],
)
def test_what_istiod_refuses(route: dict[str, Any], found: int) -> None:
    assert codes(routed(route)) == ["AIM212"] * found
