"""Two VirtualServices for a host, and hosts that are short of their namespace's suffix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc.lint import virtual_service_hosts
from tests.lint import corpus
from tests.lint.istio_objects import resource


@corpus.bad(virtual_service_hosts)
def test_bad_manifests_of_the_corpus(path: Path) -> None:
    assert corpus.found(virtual_service_hosts, path) == corpus.expected(virtual_service_hosts, path)


def test_good_manifests_of_the_corpus() -> None:
    assert corpus.found_in_good(virtual_service_hosts) == []


def codes(text: str) -> list[str]:
    return corpus.found_codes(virtual_service_hosts, text)


def routed(*routes: dict[str, Any], host: str = "shop", name: str = "a", **spec: Any) -> str:
    return resource("VirtualService", name, hosts=[host], http=list(routes), **spec)


TO = {"route": [{"destination": {"host": "shop"}}]}


@pytest.mark.parametrize(
    ("second", "found"),
    [
        ({"host": "shop"}, ["AIM209"]),
        ({"host": "shop.ai.svc.cluster.local"}, ["AIM209"]),
        ({"host": "other"}, []),
        ({"gateways": ["public"]}, []),
        ({"gateways": ["public", "mesh"]}, ["AIM209"]),
        ({"exportTo": ["."]}, []),
        ({"exportTo": ["*"]}, ["AIM209"]),
        ({"name": "a", "more": 1}, []),
    ],
)
def test_two_for_a_host(second: dict[str, Any], found: list[str]) -> None:
    assert codes(routed(TO) + routed(TO, **{"name": "b", **second})) == found


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
    assert codes(routed({"route": [{"destination": {"host": host}}]}, host="a.example.com") + here) == found
    assert codes(resource("DestinationRule", host=host) + here) == found
    assert codes(routed({**TO, "match": [{"authority": {"exact": host}}]}, host="a.example.com") + here) == []
