"""Matches that no request meets, and routes that istiod refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc.lint import virtual_service_routes
from tests.lint import corpus
from tests.lint.istio_objects import resource


@corpus.bad(virtual_service_routes)
def test_bad_manifests_of_the_corpus(path: Path) -> None:
    assert corpus.found(virtual_service_routes, path) == corpus.expected(virtual_service_routes, path)


def test_good_manifests_of_the_corpus() -> None:
    assert corpus.found_in_good(virtual_service_routes) == []


def codes(text: str) -> list[str]:
    return corpus.found_codes(virtual_service_routes, text)


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


@pytest.mark.parametrize(
    ("match", "found"),
    [
        ({"uri": {"exact": "chat"}}, ["AIM210"]),
        ({"headers": {"x-a": {"exact": " b"}}}, ["AIM210"]),
        ({"method": {"exact": "post"}}, ["AIM210"]),
        ({"uri": {"regex": "/v1/chat"}}, ["AIM211"]),
        ({"uri": {"regex": "/v1/.*"}}, []),
        ({"headers": {"cookie": {"regex": "variant=beta"}}}, ["AIM211"]),
        ({"headers": {"x-a": {"regex": "a(?=b)"}}}, ["AIM213"]),
        ({"headers": {"x-a": {"regex": "*"}}}, []),
        ({"headers": {"x-a": {"regex": ""}}}, ["AIM213"]),
        ({"headers": {"x-a": {"regex": "a*" * 512}}}, []),
        ({"headers": {"x-a": {"regex": "a*" * 512 + "a"}}}, ["AIM213"]),
        ({"headers": {"regex": {"exact": "(("}}}, []),
        ({"queryParams": {"q": {"regex": "(("}}}, ["AIM213"]),
        ({"withoutHeaders": {"x-a": {"regex": "(("}}}, ["AIM213"]),
    ],
)
def test_matches(match: dict[str, Any], found: list[str]) -> None:
    assert codes(routed({"match": [match], **TO})) == found


@pytest.mark.parametrize(
    ("kind", "spec", "found"),
    [
        ("VirtualService", {"http": [{**TO, "timeout": "5"}]}, ["AIM214"]),
        ("VirtualService", {"http": [{**TO, "timeout": "5s"}]}, []),
        ("VirtualService", {"http": [{**TO, "retries": {"perTryTimeout": "1d"}}]}, ["AIM214"]),
        ("VirtualService", {"http": [{**TO, "match": [{"headers": {"timeout": {"exact": "x"}}}]}]}, []),
        ("VirtualService", {"http": [{**TO, "match": [{"sourceLabels": {"time": "x"}}]}]}, ["AIM214"]),
        ("DestinationRule", {"trafficPolicy": {"outlierDetection": {"interval": "soon"}}}, ["AIM214"]),
        ("DestinationRule", {"subsets": [{"labels": {"interval": "soon"}}]}, []),
        ("DestinationRule", {"workloadSelector": {"matchLabels": {"ttl": "soon"}}}, []),
    ],
)
def test_durations(kind: str, spec: dict[str, Any], found: list[str]) -> None:
    assert codes(resource(kind, **spec)) == found


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("llama.ai", ["AIM215"]),
        ("llama.ai.svc", ["AIM215"]),
        ("llama.ai.svc.cluster.local", []),
        ("llama", []),
        ("llama.io", []),
    ],
)
def test_hosts_that_are_short_of_their_suffix(host: str, found: list[str]) -> None:
    here = resource("Service", "llama")
    assert codes(resource("VirtualService", hosts=[host], http=[TO]) + here) == found
    assert codes(routed({"route": [{"destination": {"host": host}}]}) + here) == found
    assert codes(resource("DestinationRule", host=host) + here) == found
    assert codes(routed({**TO, "match": [{"authority": {"exact": host}}]}) + here) == []
