"""What several patches together put into one chain of filters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc.lint import envoy_filter_chain
from tests.lint import corpus
from tests.lint.istio_objects import envoy_filter, ext_proc, http_filter, resource


@corpus.bad(envoy_filter_chain)
def test_bad_manifests_of_the_corpus(path: Path) -> None:
    assert corpus.found(envoy_filter_chain, path) == corpus.expected(envoy_filter_chain, path)


def test_good_manifests_of_the_corpus() -> None:
    assert corpus.found_in_good(envoy_filter_chain) == []


def codes(text: str) -> list[str]:
    return corpus.found_codes(envoy_filter_chain, text)


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
    found = corpus.findings(envoy_filter_chain, envoy_filter(*[http_filter(ext_proc())] * 3))
    assert [finding.path for finding in found] == [f"spec.configPatches[{i}].patch.value.name" for i in (1, 2)]
    assert len({finding.message for finding in found}) == 1


def test_two_objects_of_one_name_are_one() -> None:
    one = envoy_filter(http_filter(ext_proc()))
    assert codes(one + envoy_filter(http_filter(ext_proc(message_timeout="2s")))) == []
    assert codes(one + envoy_filter(http_filter(ext_proc()), name="other")) == ["AIM120"]


PLUGIN = resource("WasmPlugin", "auth", phase="AUTHN")
OLD, MIDDLE = "extenstions.istio.io/wasmplugin/ai.auth", "extensions.istio.io/wasmplugin/ai.auth"
NEW = "extensions.istio.io/trafficextension/ai.auth~istio-translated-wasmplugin"


@pytest.mark.parametrize("anchor", [OLD, MIDDLE, NEW])
def test_an_anchor_of_one_release(anchor: str) -> None:
    assert codes(PLUGIN + envoy_filter(http_filter(ext_proc(), anchor=anchor))) == ["AIM119"]


def test_a_patch_for_another_release_or_bound_to_its_own_is_well() -> None:
    both = [http_filter(ext_proc(), anchor=anchor) for anchor in (MIDDLE, NEW)]
    assert codes(PLUGIN + envoy_filter(*both)) == []
    bound = http_filter(ext_proc(), anchor=MIDDLE, proxy={"proxyVersion": "^1.28"})
    assert codes(PLUGIN + envoy_filter(bound)) == []


def test_an_extension_that_is_not_here_is_another_rules_affair() -> None:
    assert codes(envoy_filter(http_filter(ext_proc(), anchor=MIDDLE))) == []
