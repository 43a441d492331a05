"""Where in the chains of filters an EnvoyFilter puts its own: anchors, order, operations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc.lint import envoy_filter_order
from extproc.lint.envoy_filter_order import ALWAYS, CHAIN
from tests.lint import corpus
from tests.lint.istio_objects import EXT_PROC, envoy_filter, ext_proc, host_patch, http_filter, resource


@corpus.bad(envoy_filter_order)
def test_bad_manifests_of_the_corpus(path: Path) -> None:
    assert corpus.found(envoy_filter_order, path) == corpus.expected(envoy_filter_order, path)


def test_good_manifests_of_the_corpus() -> None:
    assert corpus.found_in_good(envoy_filter_order) == []


def codes(text: str) -> list[str]:
    return corpus.found_codes(envoy_filter_order, text)


def placed(**where: Any) -> list[str]:
    return codes(envoy_filter(http_filter(ext_proc(), **where)))


@pytest.mark.parametrize("anchor", CHAIN)
@pytest.mark.parametrize("operation", ["INSERT_BEFORE", "INSERT_AFTER"])
def test_every_place_in_istios_chain(anchor: str, operation: str) -> None:
    """Right only between authentication and the filters that use the route."""
    rank = CHAIN.index(anchor) + (0.5 if operation == "INSERT_AFTER" else -0.5)
    expected = set()
    if anchor == CHAIN[-1] and operation == "INSERT_AFTER":
        expected = {"AIM102"}
    else:
        expected |= {"AIM104"} if rank < CHAIN.index("envoy.filters.http.rbac") else set()
        expected |= {"AIM103"} if rank > CHAIN.index("istio.alpn") else set()
        expected |= {"AIM106"} if anchor not in ALWAYS else set()
    assert set(placed(anchor=anchor, operation=operation)) == expected


@pytest.mark.parametrize(
    ("operation", "anchor", "found"),
    [
        ("ADD", "", ["AIM102"]),
        ("INSERT_FIRST", "", ["AIM104"]),
        ("INSERT_BEFORE", "", ["AIM104"]),
        ("INSERT_AFTER", "", ["AIM102"]),
        ("INSERT_BEFORE", "envoy.router", ["AIM105"]),
        ("INSERT_BEFORE", "extensions.istio.io/wasmplugin/ai.auth", ["AIM106"]),
    ],
)
def test_places_beside_nothing(operation: str, anchor: str, found: list[str]) -> None:
    assert placed(operation=operation, anchor=anchor) == found


def test_an_observer_may_stand_late_but_not_before_authentication() -> None:
    def observer(anchor: str) -> list[str]:
        return codes(envoy_filter(http_filter(ext_proc(observability_mode=True), anchor=anchor)))

    assert observer(CHAIN[-1]) == []
    assert observer("envoy.filters.http.jwt_authn") == ["AIM106", "AIM104"]


def test_a_place_beside_a_filter_that_another_patch_brings_is_that_ones() -> None:
    own = http_filter(ext_proc(), name="models.route")
    first = http_filter({"@type": "a.B"}, name="one", anchor=CHAIN[-1])
    second = http_filter(ext_proc(), name="two", anchor="one", operation="INSERT_AFTER")
    assert codes(envoy_filter(first, second)) == ["AIM103"]
    behind = http_filter({"@type": "a.B"}, name="one", anchor="models.route")
    assert codes(envoy_filter(own, behind)) == []
    ring = [http_filter(ext_proc(), name=a, anchor=b) for a, b in (("x", "y"), ("y", "x"))]
    assert codes(envoy_filter(*ring)) == [], "where it is can't be known"


@pytest.mark.parametrize(("phase", "found"), [("AUTHN", []), ("AUTHZ", []), ("UNSPECIFIED_PHASE", ["AIM103"])])
def test_a_place_after_a_plugin_depends_on_its_phase(phase: str, found: list[str]) -> None:
    anchor = "extensions.istio.io/wasmplugin/ai.auth"
    text = envoy_filter(http_filter(ext_proc(), anchor=anchor, operation="INSERT_AFTER"))
    assert codes(text + resource("WasmPlugin", "auth", phase=phase)) == ["AIM119", *found]


@pytest.mark.parametrize(
    ("kind", "operation", "found"),
    [
        ("HTTP_ROUTE", "ADD", ["AIM116"]),
        ("HTTP_ROUTE", "MERGE", []),
        ("ROUTE_CONFIGURATION", "REMOVE", ["AIM113", "AIM116"]),
        ("VIRTUAL_HOST", "REPLACE", ["AIM113"]),
        ("CLUSTER", "REPLACE", ["AIM113", "AIM116"]),
    ],
)
def test_operations_that_istio_ignores(kind: str, operation: str, found: list[str]) -> None:
    patch = {**host_patch(), "applyTo": kind, "patch": {"operation": operation, "value": {}}}
    assert codes(envoy_filter(patch, priority=0)) == found


def test_a_sub_filter_stands_in_the_connection_manager_and_with_http_filters_only() -> None:
    patch = http_filter(ext_proc())
    patch["match"]["listener"]["filterChain"]["filter"]["name"] = "envoy.filters.network.tcp_proxy"
    assert codes(envoy_filter(patch)) == ["AIM107"]
    assert codes(envoy_filter({**http_filter({"@type": EXT_PROC}), "applyTo": "NETWORK_FILTER"})) == ["AIM107"]


@pytest.mark.parametrize(("priority", "found"), [(0, ["AIM113"]), (None, ["AIM113"]), (-5, [])])
def test_relative_operations_need_a_priority(priority: int | None, found: list[str]) -> None:
    assert codes(envoy_filter(http_filter(ext_proc()), priority=priority)) == found


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


def test_an_extension_that_is_not_here() -> None:
    assert codes(envoy_filter(http_filter(ext_proc(), anchor=MIDDLE))) == ["AIM106"]
