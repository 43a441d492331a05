"""Subsets, weights and ports of the destinations of routes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc.lint import virtual_service_destinations
from tests.lint import corpus
from tests.lint.istio_objects import resource


@corpus.bad(virtual_service_destinations)
def test_bad_manifests_of_the_corpus(path: Path) -> None:
    assert corpus.found(virtual_service_destinations, path) == corpus.expected(virtual_service_destinations, path)


def test_good_manifests_of_the_corpus() -> None:
    assert corpus.found_in_good(virtual_service_destinations) == []


def codes(text: str) -> list[str]:
    return corpus.found_codes(virtual_service_destinations, text)


def routed(*routes: dict[str, Any], host: str = "shop", name: str = "a", **spec: Any) -> str:
    return resource("VirtualService", name, hosts=[host], http=list(routes), **spec)


TO = {"route": [{"destination": {"host": "shop"}}]}


def destinations(*split: dict[str, Any], **route: Any) -> str:
    return routed({"route": list(split), **route})


@pytest.mark.parametrize(
    ("weights", "found"),
    [
        ((None,), []),
        ((50, 50), []),
        ((50, None), ["AIM204"]),
        ((None, None), ["AIM204", "AIM204"]),
        ((0, 0), ["AIM204"]),
        ((0, 1), []),
        ((0,), ["AIM204"]),
    ],
)
def test_weights(weights: tuple[int | None, ...], found: list[str]) -> None:
    split = [{"destination": {"host": "shop"}, **({} if w is None else {"weight": w})} for w in weights]
    assert codes(destinations(*split)) == found


RULE = resource("DestinationRule", host="shop", subsets=[{"name": "v1"}])


@pytest.mark.parametrize(
    "route",
    [
        {"route": [{"destination": {"host": "shop", "subset": "v2"}}]},
        {**TO, "mirror": {"host": "shop", "subset": "v2"}},
        {**TO, "mirrors": [{"destination": {"host": "shop", "subset": "v2"}}]},
    ],
)
def test_subsets_of_every_destination(route: dict[str, Any]) -> None:
    (found,) = corpus.findings(virtual_service_destinations, routed(route) + RULE)
    assert (found.code, found.message.partition(" (")[0]) == (
        "AIM203",
        "the DestinationRule of shop.ai.svc.cluster.local",
    )
    (alone,) = corpus.findings(virtual_service_destinations, routed(route))
    assert alone.message == "no DestinationRule of shop.ai.svc.cluster.local here declares the subset v2"
    assert codes(routed(route) + RULE.replace("v1", "v2", 9).replace("/v2", "/v1")) == []


@pytest.mark.parametrize(
    ("ports", "number", "found"),
    [
        ([{"port": 80, "name": "tcp"}], None, ["AIM208"]),
        ([{"port": 80, "name": "TCP-web"}], None, ["AIM208"]),
        ([{"port": 80, "name": "tcp", "appProtocol": "http"}], None, []),
        ([{"port": 80, "name": "http", "appProtocol": "redis"}], None, ["AIM208"]),
        ([{"port": 80, "name": "http"}, {"port": 81, "name": "tcp"}], None, []),
        ([{"port": 80, "name": "http"}, {"port": 81, "name": "tcp"}], 81, ["AIM208"]),
        ([{"port": 80, "name": "http"}, {"port": 81, "name": "tcp"}], 80, []),
        ([{"port": 80}], None, []),
    ],
)
def test_protocols_of_ports(ports: list[dict[str, Any]], number: int | None, found: list[str]) -> None:
    port = {"port": {"number": number}} if number else {}
    text = routed({"route": [{"destination": {"host": "shop", **port}}]}) + resource("Service", "shop", ports=ports)
    assert codes(text) == found
