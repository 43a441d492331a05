"""Matches that no request meets, and regular expressions that take less than they seem to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc.lint import virtual_service_matches
from tests.lint import corpus
from tests.lint.istio_objects import resource


@corpus.bad(virtual_service_matches)
def test_bad_manifests_of_the_corpus(path: Path) -> None:
    assert corpus.found(virtual_service_matches, path) == corpus.expected(virtual_service_matches, path)


def test_good_manifests_of_the_corpus() -> None:
    assert corpus.found_in_good(virtual_service_matches) == []


def codes(text: str) -> list[str]:
    return corpus.found_codes(virtual_service_matches, text)


TO = {"route": [{"destination": {"host": "llama"}}]}


def routed(route: dict[str, Any], **spec: Any) -> str:
    return resource("VirtualService", hosts=["a.example.com"], http=[route], **spec)


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
