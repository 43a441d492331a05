"""Names of filters that are Istio's own, or that two patches use in one chain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc.lint import envoy_filter_names
from tests.lint import corpus
from tests.lint.istio_objects import envoy_filter, ext_proc, http_filter


@corpus.bad(envoy_filter_names)
def test_bad_manifests_of_the_corpus(path: Path) -> None:
    assert corpus.found(envoy_filter_names, path) == corpus.expected(envoy_filter_names, path)


def test_good_manifests_of_the_corpus() -> None:
    assert corpus.found_in_good(envoy_filter_names) == []


def codes(text: str) -> list[str]:
    return corpus.found_codes(envoy_filter_names, text)


def two(**second: Any) -> list[str]:
    return codes(envoy_filter(http_filter(ext_proc()), http_filter(ext_proc(), **second)))


def test_one_name_twice_in_one_chain() -> None:
    assert two() == ["AIM120"]


@pytest.mark.parametrize(
    "second",
    [
        {"name": "models.other"},
        {"operation": "INSERT_AFTER"},
        {"anchor": "envoy.filters.http.fault"},
        {"context": "SIDECAR_OUTBOUND"},
        {"proxy": {"proxyVersion": "^1.30"}},
    ],
)
def test_other_names_places_and_proxies_are_not_the_same_chain(second: dict[str, Any]) -> None:
    assert two(**second) == []


def test_a_third_one_is_told_of_too_and_points_at_the_first() -> None:
    found = corpus.findings(envoy_filter_names, envoy_filter(*[http_filter(ext_proc())] * 3))
    assert [finding.path for finding in found] == [f"spec.configPatches[{i}].patch.value.name" for i in (1, 2)]
    assert len({finding.message for finding in found}) == 1


def test_two_objects_of_one_name_are_one() -> None:
    one = envoy_filter(http_filter(ext_proc()))
    assert codes(one + envoy_filter(http_filter(ext_proc(message_timeout="2s")))) == []
    assert codes(one + envoy_filter(http_filter(ext_proc()), name="other")) == ["AIM120"]


def test_the_name_that_istio_uses_itself() -> None:
    own = "envoy.filters.http.ext_proc"
    assert codes(envoy_filter(http_filter(ext_proc(), name=own))) == ["AIM118"]
    assert codes(envoy_filter(http_filter(ext_proc(), name="models.route"))) == []
