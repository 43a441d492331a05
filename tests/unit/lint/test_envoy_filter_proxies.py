"""Onto which proxies and listeners an EnvoyFilter goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc.lint import envoy_filter_proxies
from tests.lint import corpus
from tests.lint.istio_objects import envoy_filter, ext_proc, http_filter


@corpus.bad(envoy_filter_proxies)
def test_bad_manifests_of_the_corpus(path: Path) -> None:
    assert corpus.found(envoy_filter_proxies, path) == corpus.expected(envoy_filter_proxies, path)


def test_good_manifests_of_the_corpus() -> None:
    assert corpus.found_in_good(envoy_filter_proxies) == []


def codes(text: str) -> list[str]:
    return corpus.found_codes(envoy_filter_proxies, text)


def placed(**where: Any) -> list[str]:
    return codes(envoy_filter(http_filter(ext_proc(), **where)))


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (r"^1\.30\.", []),
        (r"^1\.(29|3[0-9])\.", []),
        ("^1.*", []),
        ("^1.30", ["AIM115"]),
        (r"^0\.", ["AIM114"]),
        (r"^1\.1[0-9]\.", ["AIM114"]),
        ("(1", ["AIM114"]),
        (r"^1\.(?=3)", ["AIM114"]),
        ("1{99999999999999999999}", ["AIM114"]),
        (r"^\p{N}+\.", []),
    ],
)
def test_proxy_versions(pattern: str, found: list[str]) -> None:
    assert placed(proxy={"proxyVersion": pattern}) == found


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ({}, []),
        ({"workloadSelector": None}, ["AIM109"]),
        ({"workloadSelector": {"labels": {}}}, ["AIM109"]),
        ({"targetRefs": [{"kind": "Gateway", "name": "a"}]}, ["AIM108", "AIM112"]),
        ({"targetRefs": [{"kind": "Gateway", "name": "a"}], "workloadSelector": None}, ["AIM112"]),
    ],
)
def test_selectors(spec: dict[str, Any], found: list[str]) -> None:
    assert codes(envoy_filter(http_filter(ext_proc()), **spec)) == found


def test_a_filter_that_is_switched_off_may_be_everywhere() -> None:
    assert codes(envoy_filter(http_filter(ext_proc(), disabled=True), workloadSelector=None)) == []


@pytest.mark.parametrize(
    ("services", "found"), [("ai/processor.ai.svc.cluster.local", []), ("ai/other.ai.svc.cluster.local", ["AIM112"])]
)
def test_services_that_a_waypoint_refers_to(services: str, found: list[str]) -> None:
    annotations = {"envoyfilter.istio.io/referenced-services": services}
    text = envoy_filter(
        http_filter(ext_proc(), context="SIDECAR_INBOUND"),
        annotations=annotations,
        workloadSelector=None,
        targetRefs=[{"kind": "Gateway", "name": "waypoint"}],
    )
    assert codes(text) == found


def test_contexts() -> None:
    assert placed(context="WAYPOINT") == ["AIM111"]
    assert placed(context="SIDECAR_INBOUND") == ["AIM117"]
    assert placed(context="ANY") == ["AIM110"]
    patch = http_filter(ext_proc())
    del patch["match"]["context"]
    assert codes(envoy_filter(patch)) == ["AIM110"]
